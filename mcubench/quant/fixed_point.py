"""Fixed-point arithmetic as TFLite Micro's reference kernels do it, with two roundings (gemmlowp).

All on int64 tensors that hold int32 values. Sources: gemmlowp's fixedpoint.h, and common.h and quantization_util.cc of
TFLite (``MultiplyByQuantizedMultiplier`` without ``TFLITE_SINGLE_ROUNDING``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = [
    "INT32_MAX",
    "INT32_MIN",
    "high_product",
    "high_product_16",
    "multiplier_of",
    "rescaled",
    "round_half_away",
    "shifted_right",
    "wrapped",
]

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
_SMALLEST_SHIFT, _LARGEST_SHIFT = -31, 30  # below the one, everything becomes 0; above the other, everything is cut off


def round_half_away(number: float) -> int:
    """The nearest integer, halves away from 0, as C's ``round``."""
    return math.floor(number + 0.5) if number >= 0 else math.ceil(number - 0.5)


def multiplier_of(number: float) -> tuple[int, int]:
    """A positive factor as a multiplier in 31 bits behind the point, and an exponent of 2."""
    if number == 0:
        return 0, 0
    mantissa, exponent = math.frexp(number)
    multiplier = round_half_away(mantissa * 2**31)
    if multiplier == 2**31:
        multiplier, exponent = multiplier // 2, exponent + 1
    if exponent > _LARGEST_SHIFT:
        return 2**31 - 1, _LARGEST_SHIFT
    return (multiplier, exponent) if exponent >= _SMALLEST_SHIFT else (0, 0)


def high_product(a: Tensor, b: Tensor | int) -> Tensor:
    """2ab / 2^32, rounded to nearest, halves up; not both may be -2^31, which would not fit."""
    return (a * b).add_(1 << 30).bitwise_right_shift_(31)


def high_product_16(a: Tensor, b: Tensor | int, rounded: bool = True) -> Tensor:
    """The same for int16 values: 2ab / 2^16, rounded or cut off."""
    product = a * b
    nudge = torch.where(product >= 0, 1 << 14, 1 - (1 << 14)) if rounded else 0
    return torch.div(product + nudge, 1 << 15, rounding_mode="trunc").clamp_max(2**15 - 1)


def shifted_right(x: Tensor, exponent: Tensor | int) -> Tensor:
    """Quotients by 2^exponent, rounded to nearest, halves away from 0."""
    if isinstance(exponent, int):
        return x if exponent == 0 else (x + ((1 << exponent) >> 1)).add_(x >> 63).bitwise_right_shift_(exponent)
    exponents = torch.as_tensor(exponent, dtype=torch.int64)
    half = (1 << exponents) >> 1
    minus_one_if_negative = (x >> 63) * exponents.clamp_max(1)
    return (x + half).add_(minus_one_if_negative).bitwise_right_shift_(exponents)


def wrapped(x: Tensor) -> Tensor:
    """What an int32 register holds of it."""
    return ((x + 2**31) & 0xFFFFFFFF) - 2**31


def rescaled(x: Tensor, multiplier: Tensor | int, exponent: Tensor | int) -> Tensor:
    """Products with a factor that `multiplier_of` gave, or with one for each channel."""
    if isinstance(exponent, int):
        up = wrapped(x << exponent) if exponent > 0 else x
        return shifted_right(high_product(up, multiplier), max(-exponent, 0))
    exponents = torch.as_tensor(exponent, dtype=torch.int64)
    up = wrapped(x << exponents.clamp_min(0)) if bool((exponents > 0).any()) else x
    return shifted_right(high_product(up, multiplier), (-exponents).clamp_min(0))
