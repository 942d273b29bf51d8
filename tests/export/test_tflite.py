"""The file itself, read with LiteRT's schema; what its bytes compute is tested in tests/quant against TFLite Micro."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mcubench.cost import BitWidths
from mcubench.export import backend
from mcubench.export.tflite import to_tflite
from mcubench.graph import trace
from mcubench.quant import quantize
from tests.quant.witness import seeded

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
