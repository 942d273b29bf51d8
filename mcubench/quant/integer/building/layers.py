"""Layers that hold weights, and pooling."""

from __future__ import annotations

import torch

from mcubench.graph import Weight, ops
from mcubench.graph.passes.batch_norm import scale_and_shift
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder, NotInIntegersError, build, resized
from mcubench.quant.integer.ir import IntegerTensor
from mcubench.quant.integer.kernels.common import Pair, Pairs, activation_limits, same_padding
from mcubench.quant.sharing import is_mean_over_positions

__all__: list[str] = []

_NONE: Pairs = ((0, 0), (0, 0))

# Kernels that cut off on one grid what a layer that can't do so itself computes.
_CLIPPING = {"relu": kernels.Relu, "relu6": kernels.Relu6}


@build.register
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


@build.register
def _(op: ops.Conv, at: Builder) -> None:
    _convolution(op, at, kernels.Convolve, (0, 2, 3, 1))


@build.register
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


@build.register
def _(op: ops.BatchNorm, at: Builder) -> None:
    """One that could not be folded is a depthwise convolution of one tap."""
    at.image()
    scale, shift = scale_and_shift(op)
    weight = Weight(f"{at.node.path}.scale", scale.float())
    bias = Weight(f"{at.node.path}.shift", shift.float())
    filter_ = at.filter(weight, weight.tensor.reshape(1, 1, 1, -1), 3, bias)
    at.emit(kernels.DepthwiseConvolve(filter_, at.bias(bias, filter_), (1, 1), _NONE, (1, 1)), [at.x])


@build.register
def _(op: ops.TransposedConv, at: Builder) -> None:
    if op.groups > 1 or any(op.padding) or any(op.output_padding) or max(op.dilation) > 1:
        raise NotInIntegersError("only transposed convolutions without padding, dilation and groups are supported")
    weight = _two_dimensional(op.weight.tensor).permute(1, 2, 3, 0)
    filter_ = at.filter(op.weight, weight, 0, op.bias)
    at.image()
    kernel = kernels.TransposeConvolve(filter_, at.bias(op.bias, filter_), _pair(op.stride))
    grid = at.grid(at.node.output)
    ends = zip(activation_limits(grid, op.activation), activation_limits(grid), strict=True)
    if all(abs(cut - end) <= 1 for cut, end in ends):
        at.emit(kernel, [at.x])  # what the activation cuts off, the grid does not hold but for a rounding
        return
    sums = at.emit(kernel, [at.x], at.new(at.node.output, suffix=".sums"))
    if op.activation in _CLIPPING:
        at.emit(_CLIPPING[op.activation](), [sums])
    else:  # no kernel of its own: the sum with 0 ends with it
        at.emit(kernels.Add(op.activation), [sums, at.constant(0.0, len(sums.shape), grid)])


@build.register
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
        x, around = _around(at, reached, window, stride, lowest=True)
        at.emit(kernels.MaxPool(window, stride, around), [x])
        return
    zeros = op.count_include_pad and any(map(any, reached))
    if zeros and any(behind[i] > padding[i][1] for i in range(2)):
        raise NotInIntegersError("an average whose last window is not full (ceil_mode) is not supported")
    if not zeros and reached not in (_NONE, same_padding(size, window, stride)):
        raise NotInIntegersError("an average without its padding is supported only for padding as TFLite's SAME has it")
    x, around = _around(at, reached, window, stride, explicit=zeros)
    at.emit(kernels.AveragePool(window, stride, around), [x])


@build.register
def _(op: ops.AdaptivePool, at: Builder) -> None:
    size, out = _size(at.image()), _pair(op.size)
    if any(length % parts for length, parts in zip(size, out, strict=True)):
        raise NotInIntegersError(f"its windows are not all alike: {size} to {out}")
    window = (size[0] // out[0], size[1] // out[1])
    kernel = kernels.MaxPool if op.kind == "max" else kernels.AveragePool
    at.emit(kernel(window, window, _NONE), [at.x])


@build.register
def _(op: ops.Reduce, at: Builder) -> None:
    if not is_mean_over_positions(at.node):
        raise NotInIntegersError(_not_averaged(op, at.node.inputs[0].shape))
    x = at.image()
    window = _size(x)
    at.emit_as(kernels.AveragePool(window, window, _NONE), x, resized(x, height=1, width=1), "mean")


def _not_averaged(op: ops.Reduce, shape: tuple[int, ...]) -> str:
    """Why average pooling does not compute a reduction, the one that has a kernel here."""
    if op.kind != "mean":
        pooled = "nn.AdaptiveMaxPool2d(1) is a maximum that has one" if op.kind == "amax" else "there is one of mean"
        return f"no kernel of {op.kind} is used here; {pooled}"
    return (
        f"it is over {', '.join(map(str, op.axes))} of the axes of {shape}, and average pooling is over all but the "
        "last, where channels are moved: write it as x.mean((2, 3)) of an image"
    )


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
    lowest: bool = False,
    explicit: bool = False,
) -> tuple[IntegerTensor, Pairs]:
    """The input, and its padding as a kernel can have it; any other is put around it by a kernel of its own."""
    x = at.image()
    size = _size(x)
    if not explicit and padding in (_NONE, same_padding(size, kernel, stride, dilation)):
        return x, padding
    (top, bottom), (left, right) = padding
    shape = resized(x, height=size[0] + top + bottom, width=size[1] + left + right)
    pad = kernels.Pad(((0, 0), (top, bottom), (left, right), (0, 0)), lowest)
    return at.between(pad, x, shape, "padded"), _NONE
