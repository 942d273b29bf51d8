"""Elements in other places, reductions, products of what is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from mcubench.readers.tflite.floats.site import ATEN, Site, rule
from mcubench.readers.tflite.shapes import sliced

__all__: list[str] = []

_REDUCTIONS: dict[str, Any] = {
    "MEAN": ATEN.mean.dim,
    "SUM": ATEN.sum.dim_IntList,
    "REDUCE_MAX": ATEN.amax.default,
    "REDUCE_MIN": ATEN.amin.default,
}


@rule("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
def _reshape(at: Site) -> fx.Node:
    return at.reshaped(at.x(), at.output.shape)


@rule("TRANSPOSE")
def _transpose(at: Site) -> fx.Node:
    return at.call(ATEN.permute.default, at.x(), at.numbers(1))


@rule(*_REDUCTIONS)
def _reduce(at: Site) -> fx.Node:
    x = at.x()
    axes = sorted({axis % len(at.shape(x)) for axis in at.numbers(1)})
    return at.call(_REDUCTIONS[at.operator.name], x, axes, bool(at.option("KeepDims", False)))


@rule("CONCATENATION")
def _concatenate(at: Site) -> fx.Node:
    parts = [at.x(index) for index in range(len(at.operator.inputs))]
    return at.activated(at.call(ATEN.cat.default, parts, at.option("Axis", 0)))


@rule("PACK")
def _pack(at: Site) -> fx.Node:
    parts = [at.x(index) for index in range(len(at.operator.inputs))]
    return at.call(ATEN.stack.default, parts, at.option("Axis", 0))


@rule("UNPACK")
def _unpack(at: Site) -> Sequence[fx.Node]:
    axis = at.option("Axis", 0)
    return [at.call(ATEN.select.int, at.x(), axis, place) for place in range(len(at.operator.outputs))]


@rule("PAD", "PADV2")
def _pad(at: Site) -> fx.Node:
    return at.call(ATEN.constant_pad_nd.default, at.x(), _around(at), _padded_with(at))


def _around(at: Site) -> list[int]:
    """Amounts as PyTorch has them: before and behind, the last axis first."""
    flat = at.numbers(1)
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return [amount for pair in reversed(pairs) for amount in pair]


def _padded_with(at: Site) -> float:
    if at.operator.name == "PAD":
        return 0.0
    tensor = at.tensor(2)
    if tensor.data is None:
        raise at.operator.refuse("what it pads with is computed")
    scale, zero = (tensor.scales[0], tensor.zero_points[0]) if len(tensor.scales) else (1.0, 0)
    return float((tensor.data.reshape(-1)[0].item() - zero) * scale)


@rule("SLICE")
def _slice(at: Site) -> fx.Node:
    x, begins, sizes = at.x(), at.numbers(1), at.numbers(2)
    return _taken(
        at,
        x,
        [
            (begin, whole if size == -1 else begin + size)
            for begin, size, whole in zip(begins, sizes, at.shape(x), strict=True)
        ],
    )


def _taken(at: Site, x: fx.Node, bounds: Sequence[tuple[int, int]]) -> fx.Node:
    for axis, (first, last) in enumerate(bounds):
        if (first, last) != (0, at.shape(x)[axis]):
            x = at.call(ATEN.slice.Tensor, x, axis, first, last)
    return x


@rule("STRIDED_SLICE")
def _strided_slice(at: Site) -> fx.Node:
    x = at.x()
    for axis, each in enumerate(sliced(at.operator, at.shape(x), at.known)[1]):
        if each != slice(0, at.shape(x)[axis], 1):
            x = at.call(ATEN.slice.Tensor, x, axis, each.start, each.stop, each.step)
    return x if at.shape(x) == at.output.shape else at.reshaped(x, at.output.shape)


@rule("SPLIT", "SPLIT_V")
def _split(at: Site) -> Sequence[fx.Node]:
    x, axis = (at.x(1), at.numbers(0)[0]) if at.operator.name == "SPLIT" else (at.x(0), at.numbers(2)[0])
    axis %= len(at.shape(x))
    found, first = [], 0
    for part in at.operator.outputs:
        found.append(at.call(ATEN.slice.Tensor, x, axis, first, first + part.shape[axis]))
        first += part.shape[axis]
    return found


@rule("GATHER")
def _gather(at: Site) -> fx.Node:
    if at.option("BatchDims", 0):
        raise at.operator.refuse("it has batch dims")
    places, axis = at.tensor(1), at.option("Axis", 0)
    if places.data is None:
        if at.tensor(0).data is None or axis:
            raise at.operator.refuse("it takes places that are computed from what is computed")
        table, (entries, *width) = at.weight(at.tensor(0)), at.tensor(0).shape
        if width:
            return at.call(ATEN.embedding.default, table, at.x(1))
        one_by_one = at.call(ATEN.reshape.default, table, [entries, 1])  # results of a function
        return at.reshaped(at.call(ATEN.embedding.default, one_by_one, at.x(1)), at.output.shape)
    if len(places.shape) != 1:
        raise at.operator.refuse(f"its places have shape {list(places.shape)}")
    numbers = torch.from_numpy(places.data.astype(np.int64))
    return at.call(ATEN.index_select.default, at.x(), axis, at.stored(places.name, numbers))


@rule("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(at: Site) -> fx.Node:
    size = at.numbers(1)
    x, aligned, centres = at.channels_first(at.x()), at.option("AlignCorners"), at.option("HalfPixelCenters")
    if at.operator.name == "RESIZE_BILINEAR":
        if not (aligned or centres):
            raise at.operator.refuse("it has corners as corners: neither aligned nor centres of pixels")
        return at.channels_last(at.call(ATEN.upsample_bilinear2d.vec, x, size, bool(aligned), None))
    if aligned:
        raise at.operator.refuse("it takes the nearest of aligned corners")
    name = ATEN._upsample_nearest_exact2d.vec if centres else ATEN.upsample_nearest2d.vec
    return at.channels_last(at.call(name, x, size, None))


@rule("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def _between_depth_and_space(at: Site) -> fx.Node:
    block = at.option("BlockSize")
    _, height, width, channels = at.tensor(0).shape
    x = at.x()
    if at.operator.name == "DEPTH_TO_SPACE":
        parts = at.call(ATEN.reshape.default, x, [-1, height, width, block, block, channels // block**2])
    else:
        parts = at.call(ATEN.reshape.default, x, [-1, height // block, block, width // block, block, channels])
    return at.reshaped(at.call(ATEN.permute.default, parts, [0, 1, 3, 2, 4, 5]), at.output.shape)


@rule("BATCH_MATMUL")
def _product(at: Site) -> fx.Node:
    sides = []
    for index, name in enumerate(("AdjX", "AdjY")):
        side = at.x(index)
        sides.append(at.call(ATEN.transpose.int, side, -1, -2) if at.option(name, False) else side)
    return at.call(ATEN.matmul.default, *sides)
