"""Arithmetic in float32 whose every operation is rounded once, in the order in which generated C takes it.

IEEE 754 prescribes sums, products, quotients and roots to the last bit; so what is made of them alone is the same on
every core, with or without an FPU, as long as no compiler fuses a product with a sum. Functions are made of them, too:
no C library's exponential need agree with another one's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.quant.grid import Grid

__all__ = [
    "EXPONENTS",
    "FLAT",
    "LN2",
    "LOG2_E",
    "SERIES",
    "exponential",
    "nearest",
    "sigmoid",
    "squares_in_order",
    "sums_in_order",
    "tanh",
    "within",
]

Floats = NDArray[np.float32]

LOG2_E = np.float32(math.log2(math.e))
# ln 2 in two parts: the first has so few digits that its products with exponents are exact.
LN2 = (np.float32(0.693359375), np.float32(math.log(2) - 0.693359375))
# exp(r) for |r| <= ln 2 / 2: beyond the seventh power its Taylor series adds less than float32 holds.
SERIES = tuple(np.float32(1 / math.factorial(power)) for power in range(7, -1, -1))
EXPONENTS = (np.float32(-87.0), np.float32(88.0))  # beyond them exp is 0, or as it is there
FLAT = np.float32(9.5)  # beyond it, tanh is 1


def within(x: NDArray[Any], low: Any, high: Any) -> NDArray[Any]:
    """What lies beyond bounds becomes the next of them."""
    return np.asarray(np.minimum(np.maximum(x, low), high))


def exponential(x: Floats) -> Floats:
    """exp(x), any shape, to 1.2e-7 of it."""
    low, high = EXPONENTS
    bounded = within(x, low, high)
    power = np.rint(bounded * LOG2_E)
    rest = (bounded - power * LN2[0]) - power * LN2[1]
    value = np.full_like(rest, SERIES[0])
    for coefficient in SERIES[1:]:
        value = value * rest + coefficient
    scaled = value * np.ldexp(np.float32(1), power.astype(np.int32))
    return np.where(x < low, np.float32(0), scaled)


def tanh(x: Floats) -> Floats:
    """The hyperbolic tangent, any shape, to 1.2e-7."""
    size = np.minimum(np.abs(x), FLAT)
    value = np.float32(1) - np.float32(2) / (exponential(size + size) + np.float32(1))
    return np.where(x < 0, -value, value)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)), any shape."""
    small = exponential(-np.abs(x))
    return np.asarray(np.where(x < 0, small, np.float32(1)) / (np.float32(1) + small))


def sums_in_order(x: Floats, weight: Floats) -> Floats:
    """Products of x (N, inputs) with W (outputs, inputs): a product is rounded, then the sum, input by input."""
    sums = np.zeros((len(x), len(weight)), np.float32)
    for column, row in zip(x.T, np.ascontiguousarray(weight.T), strict=True):
        sums += column[:, None] * row
    return sums


def squares_in_order(x: Floats, vectors: Floats) -> Floats:
    """Sums of squared differences of x (N, features) and vectors (V, features), shape (N, V), feature by feature."""
    sums = np.zeros((len(x), len(vectors)), np.float32)
    for column, values in zip(x.T, np.ascontiguousarray(vectors.T), strict=True):
        difference = column[:, None] - values
        sums += difference * difference
    return sums


def nearest(values: NDArray[Any], grid: Grid) -> NDArray[np.int64]:
    """Codes of values that are in steps of a grid already, counted from code 0; of two as near the even one."""
    return np.asarray(np.rint(within(values, *map(np.float32, grid.ends))), np.int64)
