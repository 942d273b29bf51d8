"""The file itself, read with LiteRT's schema; what its bytes compute is tested in tests/quant against TFLite Micro."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mcubench.cost import BitWidths
from mcubench.export import backend
from mcubench.export.interpreters import recorded_arena
from mcubench.export.tflite import operators_of, to_tflite
from mcubench.graph import trace
from mcubench.quant import quantize
from mcubench.quant.integer import plan_arena
from mcubench.quant.integer.memory import prescribed_places
from tests.quant.witness import check, mismatches, quantized, seeded

pytest.importorskip("ai_edge_litert")


def places(content: bytes) -> list[int]:
    """Where the data of each buffer begins in a file."""
    model = backend.load("ai_edge_litert.schema_py_generated").Model.GetRootAsModel(content, 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    return [each._tab.Vector(each._tab.Offset(4)) for each in buffers if each.DataLength()]


NETS = {
    "signal": (lambda: nn.Sequential(nn.Conv1d(6, 8, 5), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 24, 4)), (6, 28)),
    "odd sizes": (lambda: nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(75, 7)), (1, 7, 7)),
    "dense": (lambda: nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 2)), (5,)),
}


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("name", NETS)
def test_weights_are_aligned_as_the_schema_asks(name: str, bits: int) -> None:
    """schema.fbs: ``data:[ubyte] (force_align: 16)``. The metadata, of any length, is a buffer, too."""
    make, shape = NETS[name]
    torch.manual_seed(0)
    x = seeded(32, *shape)
    graph = quantize(trace(make().eval(), x[:1]), calibration=x, widths=BitWidths(bits))
    for metadata in ({}, {"a": "b" * 13}):
        found = places(to_tflite(graph, metadata=metadata))
        assert len(found) >= 4
        assert not any(place % 16 for place in found)


def test_flatbuffers_alone_does_not_align(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would show nothing."""
    builder: Any = backend.load("flatbuffers").Builder
    monkeypatch.setattr("mcubench.export.tflite._aligning_builder", lambda: builder(1024))
    x = seeded(32, 5)
    graph = quantize(trace(NETS["dense"][0]().eval(), x[:1]), calibration=x)
    assert any(place % 16 for place in places(to_tflite(graph)))


DENSE = {
    "pooled": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)), (1, 8, 8)),
    "largest": (lambda: nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(288, 5)), (1, 8, 8)),
    "mean": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 5)), (2, 9)),
    "input": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 5)), (3, 8, 8)),
    "positions": (lambda: nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 5)), (9, 6)),
    "activation": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Tanh(), nn.Linear(28, 5)), (2, 9)),
}


@pytest.mark.parametrize("name", DENSE)
def test_fully_connected_reads_and_writes_vectors(name: str) -> None:
    """As others than TFLite Micro want it; a dense layer at every position is a convolution."""
    make, shape = DENSE[name]
    torch.manual_seed(0)
    x = seeded(32, *shape)
    content = to_tflite(quantized(make(), x))
    schema = backend.load("ai_edge_litert.schema_py_generated")
    read = schema.Model.GetRootAsModel(content, 0)
    main = read.Subgraphs(0)
    dense = [
        each
        for each in (main.Operators(index) for index in range(main.OperatorsLength()))
        if read.OperatorCodes(each.OpcodeIndex()).BuiltinCode() == schema.BuiltinOperator.FULLY_CONNECTED
    ]
    assert dense
    for each in dense:
        assert [main.Tensors(place).ShapeLength() for place in (each.Inputs(0), each.Outputs(0))] == [2, 2]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("name", DENSE)
def test_reshaping_keeps_bytes_and_plan(name: str, bits: int) -> None:
    """TFLite Micro is the witness of both."""
    pytest.importorskip("tflite_micro")
    make, shape = DENSE[name]
    torch.manual_seed(0)
    check(make(), seeded(32, *shape), bits)


def test_what_is_reshaped_takes_no_second_place() -> None:
    """The largest value flattened: 8 channels of 6 x 6 beside the input, and not beside themselves."""
    make, shape = DENSE["largest"]
    torch.manual_seed(0)
    x = seeded(32, *shape)
    graph = quantized(make(), x)
    assert "RESHAPE" in operators_of(graph)
    assert plan_arena(graph).peak == 8 * 6 * 6 + 64
    places = prescribed_places(graph)
    assert places is not None
    by_name = {tensor.name: place for tensor, place in places.items()}
    reshape = next(node for node in graph.nodes if type(node.kernel).__name__ == "Reshape")
    assert by_name[reshape.inputs[0].name] == by_name[reshape.output.name]


def test_without_the_prescription_tflite_micro_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the test above would show nothing: then the same 288 bytes lie there twice."""
    pytest.importorskip("tflite_micro")
    make, shape = DENSE["largest"]
    torch.manual_seed(0)
    x = seeded(32, *shape)
    graph = quantized(make(), x)
    monkeypatch.setattr("mcubench.export.tflite.prescribed_places", lambda _: None)
    assert recorded_arena(to_tflite(graph)).head == 2 * 8 * 6 * 6
    assert mismatches(graph, x) == 0


def test_nothing_is_prescribed_where_copies_cost_nothing() -> None:
    make, shape = DENSE["pooled"]
    x = seeded(32, *shape)
    graph = quantized(make(), x)
    assert "RESHAPE" in operators_of(graph)
    assert prescribed_places(graph) is None


def test_an_input_that_is_only_flattened_is_a_vector() -> None:
    make, shape = DENSE["input"]
    graph = quantized(make(), seeded(32, *shape))
    assert operators_of(graph) == ["FULLY_CONNECTED"]
    assert graph.inputs[0].shape == (1, 192)
