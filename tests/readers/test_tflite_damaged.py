"""Files that are truncated or altered: one line, or a graph, never another exception."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers
import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import Tensor, nn

from mcubench.errors import CorruptDataError, UserError
from mcubench.export.tflite import to_tflite
from mcubench.graph import Graph
from mcubench.quant.integer import predict
from mcubench.readers.tflite import read_tflite
from tests.quant.witness import quantized, seeded


@pytest.fixture(scope="module")
def file() -> bytes:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.SiLU(), nn.Flatten(), nn.Linear(36, 5))
    return to_tflite(quantized(net.eval(), seeded(8, 2, 8, 8)))


def read(content: bytes) -> Graph | str:
    """The graph, or the line that says what is wrong."""
    try:
        return read_tflite(content).graph
    except UserError as error:
        return str(error)


def test_the_whole_file_is_read(file: bytes) -> None:
    assert isinstance(read(file), Graph)


def test_a_truncated_file_is_refused(file: bytes) -> None:
    kept = np.linspace(0, len(file) - 1, 250).astype(int)
    answers = [read(file[:size]) for size in kept]
    # What is missing may be metadata, which nothing here needs.
    assert all(isinstance(each, str) and each for each in answers[:200])


def test_an_altered_file_is_read_or_refused(file: bytes) -> None:
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(250):
        content = np.frombuffer(file, np.uint8).copy()
        places = generator.integers(0, len(content), 3)
        content[places] = generator.integers(0, 256, 3)
        refused += isinstance(read(content.tobytes()), str)
    assert 0 < refused < 250


def test_lengths_that_point_into_themselves_end(file: bytes) -> None:
    """Every 4 bytes by turns are a length of two thousand million."""
    for place in range(0, len(file) - 4, 4 * max(1, len(file) // 1000)):
        read(file[:place] + (0x7FFFFFF0).to_bytes(4, "little") + file[place + 4 :])


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 64, b"\x1c\0\0\0TFL3" + b"\xff" * 64])
def test_what_is_no_file_of_this_format(content: bytes) -> None:
    with pytest.raises(CorruptDataError, match=r"it is no \.tflite file|truncated or altered"):
        read_tflite(content)


Change = Callable[[Any, list[Any]], None]


def weights_of(tensors: list[Any]) -> Any:
    return next(each for each in tensors if len(each.shape) == 4 and each.buffer)


def flipped(model: Any, tensors: list[Any]) -> None:
    buffer = model.buffers[weights_of(tensors).buffer]
    buffer.data = buffer.data.copy()
    buffer.data[0] ^= 0x40


def scaled(_model: Any, tensors: list[Any]) -> None:
    tensors[0].quantization.scale = [float(tensors[0].quantization.scale[0]) * 1.5]


def moved(_model: Any, tensors: list[Any]) -> None:
    tensors[0].quantization.zeroPoint = [int(tensors[0].quantization.zeroPoint[0]) + 9]


def turned(_model: Any, tensors: list[Any]) -> None:
    weights_of(tensors).quantization.quantizedDimension = 3


@pytest.mark.parametrize("change", [flipped, scaled, moved, turned])
def test_a_change_is_seen_in_the_output_or_refused(file: bytes, change: Change) -> None:
    found = read_tflite(file)
    assert found.integer is not None
    codes = found.integer.encode(seeded(64, 8, 8, 2))
    (whole,) = predict(found.integer, *codes)

    def computed(change: Change) -> Tensor | None:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(file, 0))
        change(model, model.subgraphs[0].tensors)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        try:
            other = read_tflite(bytes(builder.Output()))
        except UserError:
            return None
        return None if other.integer is None else predict(other.integer, *codes)[0]

    same = computed(lambda _model, _tensors: None)
    assert same is not None
    assert torch.equal(same, whole)
    other = computed(change)
    assert other is None or not torch.equal(other, whole)
