"""Functions of one element, softmax, and arithmetic on elements at equal places."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from mcubench.readers.keras.site import ATEN, RULES, Site, rule

__all__ = ["activated"]

Function = Callable[[Site, fx.Node], fx.Node]


def _plain(target: Any, *parameters: Any) -> Function:
    return lambda at, x: at.call(target, x, *parameters)


def _softsign(at: Site, x: fx.Node) -> fx.Node:
    return at.call(ATEN.div.Tensor, x, at.call(ATEN.add.Tensor, at.call(ATEN.abs.default, x), 1))


def _hard_sigmoid(at: Site, x: fx.Node) -> fx.Node:
    """relu6(x + 3) / 6, as PyTorch has it; in Keras 2 the slope was 0.2."""
    if not at.writing.of_keras_2:
        return at.call(ATEN.hardsigmoid.default, x)
    line = at.call(ATEN.add.Tensor, at.call(ATEN.mul.Tensor, x, 0.2), 0.5)
    return at.call(ATEN.hardtanh.default, line, 0.0, 1.0)


def _tanh_shrink(at: Site, x: fx.Node) -> fx.Node:
    return at.call(ATEN.sub.Tensor, x, at.call(ATEN.tanh.default, x))


# By their names in keras.activations, with what they do where they are given no options.
_FUNCTIONS: dict[str, Function] = {
    "linear": lambda _, x: x,
    "relu": _plain(ATEN.relu.default),
    "relu6": _plain(ATEN.hardtanh.default, 0.0, 6.0),
    "sigmoid": _plain(ATEN.sigmoid.default),
    "tanh": _plain(ATEN.tanh.default),
    "silu": _plain(ATEN.silu.default),
    "swish": _plain(ATEN.silu.default),
    "hard_sigmoid": _hard_sigmoid,
    "hard_silu": _plain(ATEN.hardswish.default),
    "hard_swish": _plain(ATEN.hardswish.default),
    "hard_tanh": _plain(ATEN.hardtanh.default, -1.0, 1.0),
    "elu": _plain(ATEN.elu.default),
    "selu": _plain(ATEN.selu.default),
    "celu": _plain(ATEN.celu.default),
    "gelu": lambda at, x: at.call(ATEN.gelu.default, x, approximate="none"),
    "softplus": _plain(ATEN.softplus.default),
    "softsign": _softsign,
    "leaky_relu": _plain(ATEN.leaky_relu.default, 0.2),
    "mish": _plain(ATEN.mish.default),
    "exponential": _plain(ATEN.exp.default),
    "log_sigmoid": _plain(ATEN.log_sigmoid.default),
    "tanh_shrink": _tanh_shrink,
    "soft_shrink": _plain(ATEN.softshrink.default, 0.5),
    "hard_shrink": _plain(ATEN.hardshrink.default, 0.5),
}
_ALONG_CHANNELS = {"softmax": ATEN.softmax.int, "log_softmax": ATEN.log_softmax.int}


def activated(at: Site, x: fx.Node) -> fx.Node:
    """What a layer computes, with its activation: the name of a function, or a layer.

    Raises:
        UserError: If it is not known.
    """
    activation = getattr(at.layer, "activation", None)
    if activation is None:
        return x
    kind = type(activation).__name__
    if kind in RULES:
        inner = Site(at.writing, activation, f"{at.path}.{activation.name}", [x])
        return RULES[kind](inner)
    name = at.writing.keras.activations.serialize(activation)
    if name in _ALONG_CHANNELS:
        return at.call(_ALONG_CHANNELS[name], x, -1)
    if name not in _FUNCTIONS:
        raise at.refuse(f"its activation {name} is not known")
    return at.each(functools.partial(_FUNCTIONS[name], at), x)


@rule("Activation")
def _activation(at: Site) -> fx.Node:
    return activated(at, at.x)


@rule("ReLU")
def _relu(at: Site) -> fx.Node:
    largest, slope, start = (at.option(name) for name in ("max_value", "negative_slope", "threshold"))
    slope, start = float(slope or 0), float(start or 0)

    def function(x: fx.Node) -> fx.Node:
        if start:
            above = at.call(ATEN.threshold.default, x, start, 0.0)
        elif largest is None and slope:
            return at.call(ATEN.leaky_relu.default, x, slope)
        else:
            above = x if largest is not None else at.call(ATEN.relu.default, x)
        if largest is not None:
            above = at.call(ATEN.hardtanh.default, above, 0.0, float(largest))
        if not slope:
            return above
        depth = at.call(ATEN.relu.default, at.call(ATEN.add.Tensor, at.call(ATEN.neg.default, x), start))
        return at.call(ATEN.sub.Tensor, above, at.call(ATEN.mul.Tensor, depth, slope))

    return at.each(function, at.x)


@rule("LeakyReLU")
def _leaky_relu(at: Site) -> fx.Node:
    slope = float(at.option("negative_slope"))
    return at.each(lambda x: at.call(ATEN.leaky_relu.default, x, slope), at.x)


@rule("ELU")
def _elu(at: Site) -> fx.Node:
    alpha = float(at.option("alpha"))
    return at.each(lambda x: at.call(ATEN.elu.default, x, alpha), at.x)


@rule("PReLU")
def _prelu(at: Site) -> fx.Node:
    slopes, x = at.array(at.layer.alpha), at.x
    if all(size == 1 for size in slopes.shape[:-1]):  # one for each channel, or for all
        weight = at.stored("alpha", slopes.reshape(-1))
        return at.channels_last(at.call(ATEN.prelu.default, at.channels_first(x), weight))
    weight = at.stored("alpha", slopes)
    below = at.call(ATEN.relu.default, at.call(ATEN.neg.default, x))
    return at.call(ATEN.sub.Tensor, at.call(ATEN.relu.default, x), at.call(ATEN.mul.Tensor, below, weight))


@rule("Softmax")
def _softmax(at: Site) -> fx.Node:
    axis, x = at.option("axis"), at.x
    axes = list(axis) if isinstance(axis, (tuple, list)) else [axis]
    if len(axes) != 1 or axes[0] % len(at.shape(x)) == 0:
        raise at.refuse(f"it is over the axes {axes}")
    return at.call(ATEN.softmax.int, x, axes[0])


_MERGES = {
    "Add": ATEN.add.Tensor,
    "Subtract": ATEN.sub.Tensor,
    "Multiply": ATEN.mul.Tensor,
    "Average": ATEN.add.Tensor,
    "Maximum": ATEN.maximum.default,
    "Minimum": ATEN.minimum.default,
}


@rule(*_MERGES)
def _merge(at: Site) -> fx.Node:
    parts = [at.floats(each) for each in at.inputs]
    if len({len(at.shape(each)) for each in parts}) > 1:
        raise at.refuse("what it is called with has different numbers of axes")
    kind = type(at.layer).__name__
    made = parts[0]
    for part in parts[1:]:
        made = at.each(functools.partial(at.call, _MERGES[kind]), made, part)
    if kind != "Average" or len(parts) == 1:
        return made
    return at.each(lambda x: at.call(ATEN.div.Tensor, x, len(parts)), made)


@rule("Rescaling")
def _rescaling(at: Site) -> fx.Node:
    """A number, or one for each channel."""
    x = at.as_floats()
    for name, target, nothing in (("scale", ATEN.mul.Tensor, 1), ("offset", ATEN.add.Tensor, 0)):
        value = torch.tensor(at.option(name), dtype=torch.float32)
        if value.ndim:
            x = at.call(target, x, at.stored(name, value))
        elif value.item() != nothing:
            x = at.call(target, x, value.item())
    return x


@rule("Normalization")
def _normalization(at: Site) -> fx.Node:
    x, mean, variance = at.as_floats(), at.layer.mean, at.layer.variance
    if mean is None or variance is None:
        raise at.refuse("its mean and variance are not known")
    # Both have an axis for the batch.
    centre = at.stored("mean", at.array(mean).reshape(at.array(mean).shape[1:]))
    spread = at.array(variance).sqrt().clamp_min(at.writing.keras.config.epsilon())
    divisor = at.stored("variance", spread.reshape(spread.shape[1:]))
    if at.option("invert"):
        return at.call(ATEN.add.Tensor, at.call(ATEN.mul.Tensor, x, divisor), centre)
    return at.call(ATEN.div.Tensor, at.call(ATEN.sub.Tensor, x, centre), divisor)
