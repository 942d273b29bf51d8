"""Files that are truncated or altered: one line, or a graph, never another exception."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import flatbuffers
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
from tests.readers.damage import damaged


@pytest.fixture(scope="module")
def file() -> bytes:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.SiLU(), nn.Flatten(), nn.Linear(36, 5))
    return to_tflite(quantized(net.eval(), seeded(8, 2, 8, 8)))


def test_the_whole_file_is_read(file: bytes) -> None:
    assert isinstance(read_tflite(file).graph, Graph)


def test_truncated_and_altered_files_are_read_or_refused(file: bytes) -> None:
    """250 of each. What is missing or altered may be metadata, which nothing here needs."""
    assert 250 < damaged(file, read_tflite, 250) < 500


def test_lengths_that_point_into_themselves_end(file: bytes) -> None:
    """Every 4 bytes by turns are a length of two thousand million."""
    for place in range(0, len(file) - 4, 4 * max(1, len(file) // 1000)):
        with contextlib.suppress(UserError):
            read_tflite(file[:place] + (0x7FFFFFF0).to_bytes(4, "little") + file[place + 4 :])


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
