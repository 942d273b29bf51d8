"""Functions of one element or one row, and arithmetic on elements at equal places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from mcubench.readers.tflite.floats.site import ACTIVATION_CALLS, ATEN, Site, rule

__all__: list[str] = []

_PAIRS: dict[str, Any] = {
    "ADD": ATEN.add.Tensor,
    "SUB": ATEN.sub.Tensor,
    "MUL": ATEN.mul.Tensor,
    "DIV": ATEN.div.Tensor,
    "MAXIMUM": ATEN.maximum.default,
    "MINIMUM": ATEN.minimum.default,
}

_SHORTEST = 1e-6  # row that is brought to length 1 (l2normalization.h)

_SINGLE: dict[str, Callable[[fx.Node], tuple[Any, ...]]] = {
    "RELU": ACTIVATION_CALLS["relu"],
    "RELU6": ACTIVATION_CALLS["relu6"],
    "RELU_N1_TO_1": ACTIVATION_CALLS["relu_n1_to_1"],
    "RELU_0_TO_1": lambda x: (ATEN.hardtanh.default, x, 0.0, 1.0),
    "LOGISTIC": lambda x: (ATEN.sigmoid.default, x),
    "TANH": lambda x: (ATEN.tanh.default, x),
    "HARD_SWISH": lambda x: (ATEN.hardswish.default, x),
    "ELU": lambda x: (ATEN.elu.default, x),
    "ABS": lambda x: (ATEN.abs.default, x),
    "NEG": lambda x: (ATEN.neg.default, x),
    "EXP": lambda x: (ATEN.exp.default, x),
    "LOG": lambda x: (ATEN.log.default, x),
    "SQRT": lambda x: (ATEN.sqrt.default, x),
    "RSQRT": lambda x: (ATEN.rsqrt.default, x),
    "SQUARE": lambda x: (ATEN.mul.Tensor, x, x),
    "SIN": lambda x: (ATEN.sin.default, x),
    "COS": lambda x: (ATEN.cos.default, x),
    "FLOOR": lambda x: (ATEN.floor.default, x),
    "CEIL": lambda x: (ATEN.ceil.default, x),
    "ROUND": lambda x: (ATEN.round.default, x),
    "LOG_SOFTMAX": lambda x: (ATEN.log_softmax.int, x, -1),
}


@rule(*_PAIRS)
def _pair(at: Site) -> fx.Node:
    made = at.call(_PAIRS[at.operator.name], at.x(0), at.x(1))
    return made if at.operator.name in ("MAXIMUM", "MINIMUM") else at.activated(made)


@rule("SQUARED_DIFFERENCE")
def _squared_difference(at: Site) -> fx.Node:
    difference = at.call(ATEN.sub.Tensor, at.x(0), at.x(1))
    return at.call(ATEN.mul.Tensor, difference, difference)


@rule(*_SINGLE)
def _single(at: Site) -> fx.Node:
    return at.call(*_SINGLE[at.operator.name](at.x()))


@rule("QUANTIZE", "DEQUANTIZE")
def _same_values(at: Site) -> fx.Node:
    """In an image of integers."""
    if not at.rounded:
        raise at.operator.refuse("it rounds between operators in float")
    return at.x() if at.output.kind != "INT32" else _places(at)


def _places(at: Site) -> fx.Node:
    """Codes that are looked up in a table, as numbers."""
    steps = at.call(ATEN.round.default, at.call(ATEN.div.Tensor, at.x(), float(at.output.scales[0])))
    moved = at.call(ATEN.add.Tensor, steps, int(at.output.zero_points[0]))
    return at.call(ATEN._to_copy.default, at.call(ATEN.clamp.default, moved, 0, 255), dtype=torch.int32)


@rule("GELU")
def _gelu(at: Site) -> fx.Node:
    return at.call(ATEN.gelu.default, at.x(), approximate="tanh" if at.option("Approximate", False) else "none")


@rule("LEAKY_RELU")
def _leaky_relu(at: Site) -> fx.Node:
    return at.call(ATEN.leaky_relu.default, at.x(), float(at.option("Alpha", 0.0)))


@rule("PRELU")
def _prelu(at: Site) -> fx.Node:
    x, slopes = at.x(), at.tensor(1)
    channels = slopes.shape[-1:] in ((1,), at.shape(x)[-1:])
    if slopes.data is None or not channels or any(size != 1 for size in slopes.shape[:-1]):
        raise at.operator.refuse(f"its slopes {list(slopes.shape)} are neither one nor one for each channel")
    rank = len(at.shape(x))
    order = [0, rank - 1, *range(1, rank - 1)] if rank > 2 else [0, 1]  # PyTorch has channels second
    weight = at.call(ATEN.reshape.default, at.weight(slopes), [-1])
    made = at.call(ATEN.prelu.default, at.call(ATEN.permute.default, x, order), weight)
    return at.call(ATEN.permute.default, made, [order.index(axis) for axis in range(rank)])


@rule("SOFTMAX")
def _softmax(at: Site) -> fx.Node:
    x, beta = at.x(), float(at.option("Beta", 1.0))
    scaled = x if beta == 1 else at.call(ATEN.mul.Tensor, x, beta)
    return at.call(ATEN.softmax.int, scaled, -1)


@rule("L2_NORMALIZATION")
def _unit_rows(at: Site) -> fx.Node:
    length = at.call(ATEN.linalg_vector_norm.default, at.x(), 2, [-1], True)
    return at.activated(at.call(ATEN.div.Tensor, at.x(), at.call(ATEN.clamp_min.default, length, _SHORTEST)))
