"""Convolutions and pools: what slides over spatial axes, and the padding ``same`` around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import fx

from mcubench.readers.keras.functions import activated
from mcubench.readers.keras.site import ATEN, Site, rule

__all__: list[str] = []

_CONVOLUTIONS = {1: ATEN.conv1d.default, 2: ATEN.conv2d.default}
_TRANSPOSED = {1: ATEN.conv_transpose1d.default, 2: ATEN.conv_transpose2d.input}
_POOLS = {
    ("Max", 1): ATEN.max_pool1d.default,
    ("Max", 2): ATEN.max_pool2d.default,
    ("Average", 1): ATEN.avg_pool1d.default,
    ("Average", 2): ATEN.avg_pool2d.default,
}


def _around(at: Site, x: fx.Node, window: Sequence[int], stride: Sequence[int], spread: Sequence[int]) -> list[Any]:
    """What a padding puts before and behind each spatial axis of x, channels second: with ``same``, the odd one behind.

    Source: https://www.tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2
    """
    padding, size = at.option("padding"), at.shape(x)[2:]
    if padding == "valid":
        return [(0, 0)] * len(size)
    if padding == "causal":
        return [((taps - 1) * step, 0) for taps, step in zip(window, spread, strict=True)]
    if padding != "same":
        raise at.refuse(f"its padding is {padding}")
    found = []
    for length, taps, step, between in zip(size, window, stride, spread, strict=True):
        total = max((-(-length // step) - 1) * step + (taps - 1) * between + 1 - length, 0)
        found.append((total // 2, total - total // 2))
    return found


def _convolved(at: Site, x: fx.Node, kernel: fx.Node, bias: fx.Node | None, groups: int) -> fx.Node:
    """The convolution of a layer with its strides, channels second."""
    rank = len(at.shape(x)) - 2
    stride, spread = at.sizes("strides", rank), at.sizes("dilation_rate", rank)
    around = _around(at, x, at.shape(kernel)[2:], stride, spread)
    if any(map(any, around)):
        x = at.call(ATEN.constant_pad_nd.default, x, [size for pair in reversed(around) for size in pair], 0.0)
    return at.call(_CONVOLUTIONS[rank], x, kernel, bias, stride, [0] * rank, spread, groups)


def _needed(at: Site, name: str, order: Sequence[int]) -> fx.Node:
    found = at.weight(name, order)
    if found is None:
        raise at.refuse(f"it has no {name}")
    return found


@rule("Conv1D", "Conv2D")
def _convolution(at: Site) -> fx.Node:
    rank, x = len(at.shape(at.x)) - 2, at.channels_first(at.x)
    kernel = _needed(at, "kernel", (rank + 1, rank, *range(rank)))
    made = _convolved(at, x, kernel, at.weight("bias"), at.option("groups", 1))
    return activated(at, at.channels_last(made))


def _depthwise_kernel(at: Site, name: str) -> fx.Node:
    """(*kernel, channels, multiplier) as PyTorch has it."""
    kernel = at.array(getattr(at.layer, name))
    rank = kernel.ndim - 2
    return at.stored(name, kernel.permute(rank, rank + 1, *range(rank)).reshape(-1, 1, *kernel.shape[:rank]))


@rule("DepthwiseConv1D", "DepthwiseConv2D")
def _depthwise(at: Site) -> fx.Node:
    x = at.channels_first(at.x)
    made = _convolved(at, x, _depthwise_kernel(at, _kernel_name(at)), at.weight("bias"), at.shape(x)[1])
    return activated(at, at.channels_last(made))


def _kernel_name(at: Site) -> str:
    return "depthwise_kernel" if hasattr(at.layer, "depthwise_kernel") else "kernel"


@rule("SeparableConv1D", "SeparableConv2D")
def _separable(at: Site) -> fx.Node:
    rank, x = len(at.shape(at.x)) - 2, at.channels_first(at.x)
    depthwise = _convolved(at, x, _depthwise_kernel(at, "depthwise_kernel"), None, at.shape(x)[1])
    kernel = _needed(at, "pointwise_kernel", (rank + 1, rank, *range(rank)))
    ones = [1] * rank
    made = at.call(_CONVOLUTIONS[rank], depthwise, kernel, at.weight("bias"), ones, [0] * rank, ones, 1)
    return activated(at, at.channels_last(made))


@rule("Conv1DTranspose", "Conv2DTranspose")
def _transposed(at: Site) -> fx.Node:
    """As TensorFlow has it: the gradient of a convolution with that padding, whose odd element is behind."""
    rank, x = len(at.shape(at.x)) - 2, at.channels_first(at.x)
    kernel = _needed(at, "kernel", (rank + 1, rank, *range(rank)))
    stride, spread = at.sizes("strides", rank), at.sizes("dilation_rate", rank)
    if max(spread) > 1:
        raise at.refuse("it has a dilation, which TensorFlow can't compute")
    wanted = at.layer.compute_output_shape((None, *at.shape(at.x)[1:]))[1:-1]
    sizes = zip(at.shape(x)[2:], stride, at.shape(kernel)[2:], strict=True)
    whole = [(length - 1) * step + taps for length, step, taps in sizes]
    same = at.option("padding") == "same"
    cut = [max(made - size, 0) // 2 if same else 0 for made, size in zip(whole, wanted, strict=True)]
    more = [max(size - made, 0) for made, size in zip(whole, wanted, strict=True)]
    made = at.call(_TRANSPOSED[rank], x, kernel, at.weight("bias"), stride, cut, more)
    for axis, size in enumerate(wanted, 2):
        if at.shape(made)[axis] > size:
            made = at.call(ATEN.slice.Tensor, made, axis, 0, size)
    return activated(at, at.channels_last(made))


@rule("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D")
def _pool(at: Site) -> fx.Node:
    """What is outside of the input is not counted, in either kind.

    PyTorch pads as much on both sides. Where one more is wanted behind, the last window may reach beyond that; with a
    stride of 1, one more stands on both sides, and the first window is left out.
    """
    rank, x = len(at.shape(at.x)) - 2, at.channels_first(at.x)
    window, stride = at.sizes("pool_size", rank), at.sizes("strides", rank)
    around = _around(at, x, window, stride, [1] * rank)
    extra = [before != behind and step == 1 for (before, behind), step in zip(around, stride, strict=True)]
    padding = [behind if left_out else before for (before, behind), left_out in zip(around, extra, strict=True)]
    beyond = any(before != behind and step > 1 for (before, behind), step in zip(around, stride, strict=True))
    kind = "Max" if type(at.layer).__name__.startswith("Max") else "Average"
    if kind == "Average":
        made = at.call(_POOLS[kind, rank], x, window, stride, padding, beyond, False)
    elif any(padding) or beyond:
        made = at.call(_POOLS[kind, rank], x, window, stride, padding=padding, ceil_mode=beyond)
    else:
        made = at.call(_POOLS[kind, rank], x, window, stride)
    for axis, left_out in enumerate(extra, 2):
        if left_out:
            made = at.call(ATEN.slice.Tensor, made, axis, 1, at.shape(made)[axis])
    return at.channels_last(made)


@rule(*(f"Global{kind}Pooling{rank}D" for kind in ("Max", "Average") for rank in (1, 2)))
def _global_pool(at: Site) -> fx.Node:
    target = ATEN.amax.default if "Max" in type(at.layer).__name__ else ATEN.mean.dim
    x = at.channels_first(at.x)
    kept = bool(at.option("keepdims"))
    made = at.call(target, x, list(range(2, len(at.shape(x)))), kept)
    return at.channels_last(made) if kept else made
