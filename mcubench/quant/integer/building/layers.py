"""Layers that hold weights, and pooling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from mcubench.graph import Weight, ops
from mcubench.graph.passes.batch_norm import scale_and_shift
from mcubench.graph.places import nearest_places
from mcubench.quant.grid import ACTIVATION_MIN
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder, resized
from mcubench.quant.integer.building.table import NotInIntegersError, builds
from mcubench.quant.integer.ir import IntegerTensor, Kernel, Operand
from mcubench.quant.integer.kernels.common import Pair, Pairs, activation_limits, same_padding

__all__: list[str] = []

_NONE: Pairs = ((0, 0), (0, 0))
_WINDOWS = 49  # that are pooled one by one

# Kernels that cut off on one grid what a layer that can't do so itself computes.
_CLIPPING = {"relu": kernels.Relu, "relu6": kernels.Relu6}


@builds(ops.Dense, kernels.FullyConnected, kernels.Convolve, limits="weights of 8, 4 or 2 bits")
def _(op: ops.Dense, at: Builder) -> None:
    if at.without_vectors or len(at.node.inputs[0].shape) > 1:
        _as_convolution(op, at)
        return
    filter_ = at.filter(op.weight, op.weight.tensor, 0, op.bias)
    at.emit(kernels.FullyConnected(filter_, at.bias(op.bias, filter_), op.activation), [at.x])


def _as_convolution(op: ops.Dense, at: Builder) -> None:
    """A convolution of one tap, at every position; a flattened image is read as it is, by a filter of its size."""
    x = at.x
    outputs, inputs = op.weight.tensor.shape
    height, width = (1, 1) if x.shape[3] == inputs else _size(x)
    weight = op.weight.tensor.reshape(outputs, height, width, -1)
    filter_ = at.filter(op.weight, weight, 0, op.bias)
    at.emit(kernels.Convolve(filter_, at.bias(op.bias, filter_), (1, 1), _NONE, (1, 1), op.activation), [x])


@builds(ops.Conv, kernels.Convolve, kernels.Pad, limits="signals and images, groups too; weights of 8, 4 or 2 bits")
def _(op: ops.Conv, at: Builder) -> None:
    _convolution(op, at, kernels.Convolve, (0, 2, 3, 1))


@builds(
    ops.DepthwiseConv, kernels.DepthwiseConvolve, kernels.Pad, limits="signals and images; weights of 8, 4 or 2 bits"
)
def _(op: ops.DepthwiseConv, at: Builder) -> None:
    _convolution(op, at, kernels.DepthwiseConvolve, (1, 2, 3, 0))


def _convolution(
    op: ops.Conv,
    at: Builder,
    kernel: type[kernels.Convolve | kernels.DepthwiseConvolve],
    order: tuple[int, int, int, int],
) -> None:
    """A convolution by a kernel that wants the weight's axes in this order."""
    weight = _two_dimensional(op.weight.tensor).permute(order)
    filter_ = at.filter(op.weight, weight, order.index(0), op.bias)
    stride, dilation = _pair(op.stride), _pair(op.dilation)
    x, padding = _around(at, _pairs(op.padding), _pair(op.kernel), stride, dilation)
    at.emit(kernel(filter_, at.bias(op.bias, filter_), stride, padding, dilation, op.activation), [x])


@builds(ops.BatchNorm, kernels.DepthwiseConvolve, kernels.Reshape, limits="one that follows no layer")
def _(op: ops.BatchNorm, at: Builder) -> None:
    """One that could not be folded is a depthwise convolution of one tap; features are an image of one pixel."""
    scale, shift = scale_and_shift(op)
    weight = Weight(f"{at.node.path}.scale", scale.float())
    bias = Weight(f"{at.node.path}.shift", shift.float())
    filter_ = at.filter(weight, weight.tensor.reshape(1, 1, 1, -1), 3, bias)
    x = at.reshaped(at.x, (1, 1, 1, len(scale))) if op.rank == 0 and len(at.node.inputs[0].shape) == 1 else at.image()
    output = IntegerTensor(f"{at.node.output.name}.image", x.shape, at.grid(at.node.output))
    kernel = kernels.DepthwiseConvolve(filter_, at.bias(bias, filter_), (1, 1), _NONE, (1, 1))
    if x.shape == at.shape(at.node.output):
        at.emit(kernel, [x])
    else:
        at.give(at.emit(kernel, [x], output))


@builds(
    ops.TransposedConv,
    kernels.TransposeConvolve,
    kernels.StridedSlice,
    kernels.Relu,
    kernels.Relu6,
    kernels.Add,
    limits="any padding; no groups, no dilation",
)
def _(op: ops.TransposedConv, at: Builder) -> None:
    if op.groups > 1 or max(op.dilation) > 1:
        raise NotInIntegersError("only transposed convolutions without dilation and groups are supported")
    weight = _two_dimensional(op.weight.tensor).permute(1, 2, 3, 0)
    filter_ = at.filter(op.weight, weight, 0, op.bias)
    x = at.image()
    kernel = kernels.TransposeConvolve(filter_, at.bias(op.bias, filter_), _pair(op.stride))
    grid = at.grid(at.node.output)
    ends = zip(activation_limits(grid, op.activation), activation_limits(grid), strict=True)
    saturated = all(abs(cut - end) <= 1 for cut, end in ends)
    if saturated and not any(op.padding):
        at.emit(kernel, [x])  # what the activation cuts off, the grid does not hold but for a rounding
        return
    down, across = ((0, *op.padding) if len(op.padding) == 1 else op.padding)[:2]
    wanted = at.new(at.node.output, suffix="" if saturated else ".sums")
    _, height, width, outputs = wanted.shape
    whole = at.new(at.node.output, (1, height + down, width + across, outputs), ".whole")
    sums = at.emit(kernel, [x], whole if any(op.padding) else wanted)
    if down:  # padding is what is cut off of the beginning; the end is where the output ends
        rows = at.new(at.node.output, (1, height, width + across, outputs), ".rows") if across else wanted
        sums = at.emit(kernels.StridedSlice(1, down, down + height), [sums], rows)
    if across:
        sums = at.emit(kernels.StridedSlice(2, across, across + width), [sums], wanted)
    if saturated:
        at.give(sums)
    elif op.activation in _CLIPPING:
        at.emit(_CLIPPING[op.activation](), [sums])
    else:  # no kernel of its own: the sum with 0 ends with it
        at.emit(kernels.Add(op.activation), [sums, at.constant(0.0, len(sums.shape), grid)])


@builds(
    ops.Pool,
    kernels.MaxPool,
    kernels.AveragePool,
    kernels.Pad,
    kernels.StridedSlice,
    kernels.Concatenate,
    limits="no dilation; windows of several sizes are at most 49",
)
def _(op: ops.Pool, at: Builder) -> None:
    if max(op.dilation) > 1:
        raise NotInIntegersError("pooling with dilation is not supported")
    window, stride = _pair(op.kernel), _pair(op.stride)
    padding = _pairs(op.padding)
    size, out = _size(at.image()), _pair(at.node.output.shape[:-1])
    behind = [
        (out[i] - 1) * stride[i] + window[i] - size[i] - padding[i][0] for i in range(2)
    ]  # a window that rounding up starts may reach farther than the padding
    reached: Pairs = tuple((padding[i][0], max(behind[i], 0)) for i in range(2))  # type: ignore[assignment]
    if op.kind == "max":
        x, around = _around(at, reached, window, stride, code=ACTIVATION_MIN)
        at.emit(kernels.MaxPool(window, stride, around), [x])
        return
    zeros = op.count_include_pad and any(map(any, padding))
    if zeros and any(behind[i] > padding[i][1] for i in range(2)):
        raise NotInIntegersError("an average over padding whose last window is not full (ceil_mode) is not supported")
    if not zeros and reached not in (_NONE, same_padding(size, window, stride)):
        along = [
            [(max(0, s := i * stride[k] - padding[k][0]), min(size[k], s + window[k])) for i in range(out[k])]
            for k in range(2)
        ]
        _window_by_window(at, kernels.AveragePool, along)
        return
    x, around = _around(at, reached, window, stride, explicit=zeros)
    at.emit(kernels.AveragePool(window, stride, around), [x])


@builds(
    ops.AdaptivePool,
    kernels.MaxPool,
    kernels.AveragePool,
    kernels.StridedSlice,
    kernels.Concatenate,
    limits="windows of several sizes are at most 49",
)
def _(op: ops.AdaptivePool, at: Builder) -> None:
    size, out = _size(at.image()), _pair(op.size)
    kernel = kernels.MaxPool if op.kind == "max" else kernels.AveragePool
    if any(length % parts for length, parts in zip(size, out, strict=True)):
        along = [
            [(i * n // parts, -(-(i + 1) * n // parts)) for i in range(parts)]
            for n, parts in zip(size, out, strict=True)
        ]
        _window_by_window(at, kernel, along)
        return
    window = (size[0] // out[0], size[1] // out[1])
    at.emit(kernel(window, window, _NONE), [at.x])


def _window_by_window(
    at: Builder, kernel: type[kernels.MaxPool | kernels.AveragePool], along: Sequence[Sequence[tuple[int, int]]]
) -> None:
    """Pooling over windows of several sizes: each by itself, and then one beside the other.

    Args:
        at: Where.
        kernel: What is computed of each.
        along: Where windows begin and end, down and across.
    """
    rows, columns = along
    if len(rows) * len(columns) > _WINDOWS:
        raise NotInIntegersError(
            f"its windows are not all alike, and of such at most {_WINDOWS} are pooled one by one; here are "
            f"{len(rows)} x {len(columns)}"
        )
    x, name, grid = at.image(), at.node.output.name, at.grid(at.node.output)
    bands = []
    for i, (top, bottom) in enumerate(rows):
        band = _part(at, x, 1, top, bottom, f"{name}.rows_{i}")
        parts: list[Operand] = []
        for j, (left, right) in enumerate(columns):
            part = _part(at, band, 2, left, right, f"{name}.window_{i}_{j}")
            window = (bottom - top, right - left)
            made = IntegerTensor(f"{name}.{i}_{j}", (1, 1, 1, x.shape[3]), grid)
            parts.append(at.emit(kernel(window, window, _NONE), [part], made))
        bands.append(at.joined(parts, 2, f"{name}.band_{i}"))
    at.give(at.joined(bands, 1, f"{name}.bands"))


def _part(at: Builder, x: IntegerTensor, axis: int, start: int, stop: int, name: str) -> IntegerTensor:
    if (start, stop) == (0, x.shape[axis]):
        return x
    shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return at.emit(kernels.StridedSlice(axis, start, stop), [x], IntegerTensor(name, shape, x.grid))


@builds(
    ops.Reduce,
    kernels.AveragePool,
    kernels.MaxPool,
    kernels.Sum,
    kernels.Transpose,
    kernels.Reshape,
    limits="means, maxima and sums over any axes",
)
def _(op: ops.Reduce, at: Builder) -> None:
    """Over all positions of an image; what is over other axes is made one."""
    if op.kind not in _REDUCTIONS:
        raise NotInIntegersError(f"no kernel of {op.kind} is used here; there are {', '.join(_REDUCTIONS)}")
    x, name = _positions_first(op, at), at.node.output.name
    kernel = _REDUCTIONS[op.kind](_size(x))
    made = IntegerTensor(f"{name}.{op.kind}", resized(x, height=1, width=1), at.grid(at.node.output))
    at.give(at.emit(kernel, [x], made))


_REDUCTIONS: dict[str, Callable[[Pair], Kernel]] = {
    "mean": lambda window: kernels.AveragePool(window, window, _NONE),
    "amax": lambda window: kernels.MaxPool(window, window, _NONE),
    "sum": lambda _window: kernels.Sum((1, 2)),
}


def _positions_first(op: ops.Reduce, at: Builder) -> IntegerTensor:
    """The input as an image whose positions are what is reduced, and whose channels are the rest."""
    shape = at.node.inputs[0].shape
    if 1 < len(shape) < 4 and op.axes == tuple(range(len(shape) - 1)):
        return at.image()
    kept = [axis for axis in range(len(shape)) if axis not in op.axes]
    sizes = math.prod(shape[axis] for axis in op.axes), math.prod(shape[axis] for axis in kept)
    moved = at.permuted(at.x, shape, (*op.axes, *kept))
    return at.reshaped(moved, (1, sizes[0], 1, sizes[1]))


@builds(
    ops.Embedding,
    kernels.Embed,
    limits="by integers that the application supplies; vectors of 8 bits; no C is written for it",
)
def _(op: ops.Embedding, at: Builder) -> None:
    """Vectors are stored as they are given out, on the grid of the result."""
    if at.bits != 8:
        raise NotInIntegersError(
            f"its vectors are to have {at.bits} bits, and they are given out as they are stored, in 8: "
            f"give {at.node.path or 'it'} 8 bits among those by layer"
        )
    at.emit(kernels.Embed(at.grid(at.node.output).codes(op.weight.tensor)), [at.x])


@builds(
    ops.Resize,
    kernels.Gather,
    kernels.ResizeBilinear,
    limits="nearest to any size; linear and bilinear by the ratio of the sizes",
)
def _(op: ops.Resize, at: Builder) -> None:
    x = at.image()
    size, out = _size(x), _pair(op.size)
    scales: list[float | None] = [None, None, *(op.scales or (None,) * len(op.size))][-2:]
    if op.mode.startswith("nearest"):
        rows, columns = (nearest_places(op.mode, size[k], out[k], scales[k]) for k in range(2))
        at.gathered(x, [(1, rows), (2, columns)])
        return
    if op.mode not in ("linear", "bilinear"):
        raise NotInIntegersError(f"resizing is of mode nearest, linear or bilinear, not {op.mode}")
    if any(scale and scale * old != new for scale, old, new in zip(scales, size, out, strict=True)):
        raise NotInIntegersError(f"its scale {op.scales} is not the ratio of the sizes {size} and {out}")
    at.emit(kernels.ResizeBilinear(bool(op.align_corners)), [x])


def _two_dimensional(weight: torch.Tensor) -> torch.Tensor:
    if weight.ndim > 4:
        raise NotInIntegersError("only one- and two-dimensional convolutions are supported")
    return weight.unsqueeze(2) if weight.ndim == 3 else weight


def _size(image: IntegerTensor) -> Pair:
    return image.shape[1], image.shape[2]


def _pair(sizes: tuple[int, ...]) -> Pair:
    """Height and width; those of a signal's only axis are the width's."""
    if len(sizes) > 2:
        raise NotInIntegersError("only signals and images are supported")
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def _pairs(padding: tuple[Pair, ...]) -> Pairs:
    return ((0, 0), padding[0]) if len(padding) == 1 else (padding[0], padding[1])


def _around(
    at: Builder,
    padding: Pairs,
    kernel: Pair,
    stride: Pair,
    dilation: Pair = (1, 1),
    code: int | None = None,
    explicit: bool = False,
) -> tuple[IntegerTensor, Pairs]:
    """The input, and its padding as a kernel can have it; any other is put around it by a kernel of its own."""
    x = at.image()
    size = _size(x)
    if not explicit and padding in (_NONE, same_padding(size, kernel, stride, dilation)):
        return x, padding
    (top, bottom), (left, right) = padding
    shape = resized(x, height=size[0] + top + bottom, width=size[1] + left + right)
    pad = kernels.Pad(((0, 0), (top, bottom), (left, right), (0, 0)), code)
    return at.between(pad, x, shape, "padded"), _NONE
