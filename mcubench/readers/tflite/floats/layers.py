"""Layers, pooling, recurrence."""

from __future__ import annotations

import torch
from torch import fx

from mcubench.quant.integer.kernels.common import Pairs, same_padding
from mcubench.readers.tflite.floats.site import ATEN, Site, real, rule
from mcubench.readers.tflite.operands import SAME

__all__: list[str] = []


def _padding(at: Site, kernel: tuple[int, int], dilation: tuple[int, int] = (1, 1)) -> Pairs:
    if at.option("Padding") != SAME:
        return (0, 0), (0, 0)
    return same_padding(at.tensor(0).shape[1:3], kernel, at.stride, dilation)  # type: ignore[arg-type]


@rule("CONV_2D", "DEPTHWISE_CONV_2D")
def _convolution(at: Site) -> fx.Node:
    filter_, channels = at.tensor(1), at.tensor(0).shape[-1]
    if at.operator.name == "CONV_2D":
        order, inputs = (0, 3, 1, 2), filter_.shape[3]
        if not inputs or channels % inputs:
            raise at.operator.refuse(f"its filter is for {inputs} channels, its input has {channels}")
        groups = channels // inputs
    else:
        order, groups = (3, 0, 1, 2), channels
    stride = list(at.stride)
    dilation = [at.option("DilationHFactor"), at.option("DilationWFactor")]
    around = _padding(at, filter_.shape[1:3], tuple(dilation))  # type: ignore[arg-type]
    x = _around(at, at.channels_first(at.x()), around, 0.0)
    made = at.call(ATEN.conv2d.default, x, at.weight(filter_, order), at.bias(2), stride, [0, 0], dilation, groups)
    return at.channels_last(at.activated(made))


def _around(at: Site, x: fx.Node, around: Pairs, value: float) -> fx.Node:
    (top, bottom), (left, right) = around
    if not any((top, bottom, left, right)):
        return x
    return at.call(ATEN.constant_pad_nd.default, x, [left, right, top, bottom], value)


@rule("FULLY_CONNECTED")
def _dense(at: Site) -> fx.Node:
    filter_, x = at.tensor(1), at.x()
    if at.option("WeightsFormat", 0):
        raise at.operator.refuse("its weights are shuffled, as for one kind of processor")
    if at.shape(x)[-1] != filter_.shape[1] or not at.option("KeepNumDims", False):
        x = at.call(ATEN.reshape.default, x, [-1, filter_.shape[1]])
    made = at.activated(at.call(ATEN.linear.default, x, at.weight(filter_), at.bias(2)))
    return made if at.shape(made) == at.output.shape else at.reshaped(made, at.output.shape)


@rule("TRANSPOSE_CONV")
def _transposed(at: Site) -> fx.Node:
    filter_, stride = at.tensor(1), list(at.stride)
    sizes = list(zip(at.tensor(2).shape[1:3], filter_.shape[1:3], stride, at.output.shape[1:3], strict=True))
    whole = [(size - 1) * step + taps for size, taps, step, _ in sizes]
    # Rows before and behind are cut off; where fewer are made than are wanted, they hold the bias alone.
    cut = [
        max(made - wanted, 0) // 2 if at.option("Padding") == SAME else 0
        for made, (*_, wanted) in zip(whole, sizes, strict=True)
    ]
    more = [max(wanted - made, 0) for made, (*_, wanted) in zip(whole, sizes, strict=True)]
    x, weight = at.channels_first(at.x(2)), at.weight(filter_, (3, 0, 1, 2))
    made = at.call(ATEN.conv_transpose2d.input, x, weight, at.bias(3), stride, [0, 0], more)
    for axis, (before, (*_, wanted)) in enumerate(zip(cut, sizes, strict=True), 2):
        if at.shape(made)[axis] != wanted:
            made = at.call(ATEN.slice.Tensor, made, axis, before, before + wanted)
    return at.channels_last(at.activated(made))


@rule("MAX_POOL_2D", "AVERAGE_POOL_2D")
def _pool(at: Site) -> fx.Node:
    window, stride = at.window, list(at.stride)
    around, x = _padding(at, window), at.channels_first(at.x())
    if at.operator.name == "MAX_POOL_2D":
        padded = _around(at, x, around, float("-inf"))
        made = at.call(ATEN.max_pool2d.default, padded, list(window), stride)
    else:
        # The last window may reach beyond the padding that is the same on both sides; what it has outside is not
        # counted, as nothing outside is.
        before = [pair[0] for pair in around]
        if any(pair[0] != pair[1] and step == 1 for pair, step in zip(around, stride, strict=True)):
            raise at.operator.refuse("its padding differs from side to side")
        uneven = any(pair[0] != pair[1] for pair in around)
        made = at.call(ATEN.avg_pool2d.default, x, list(window), stride, before, uneven, False)
    return at.channels_last(at.activated(made))


@rule("UNIDIRECTIONAL_SEQUENCE_LSTM")
def _lstm(at: Site) -> fx.Node:
    at.check_plain_lstm()
    if at.option("CellClip") and not at.rounded:
        raise at.operator.refuse("its cell is clipped")
    path, x, hidden = at.operator.path, at.x(), at.tensor(1).shape[0]
    # TFLite has the gates in the order that PyTorch has: input, forget, cell, output.
    stacked = [
        torch.cat([real(at.tensor(first + gate)) for gate in range(4)]) if at.optional(first) is not None else None
        for first in (1, 5, 12)
    ]
    names = (f"{path}.weight_ih_l0", f"{path}.weight_hh_l0", f"{path}.bias_ih_l0")
    weights = [at.stored(name, each) for name, each in zip(names, stacked, strict=True) if each is not None]
    if len(weights) == 3:  # PyTorch has two biases
        weights.append(at.call(ATEN.zeros.default, [4 * hidden]))
    state = at.call(ATEN.zeros.default, [1, len(x.meta["val"]), hidden])
    made = at.call(ATEN.lstm.input, x, [state, state], weights, len(weights) == 4, 1, 0.0, False, False, True)
    return at.item(made, 0)
