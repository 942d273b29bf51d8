"""Sigmoid, hyperbolic tangent, powers, logarithms and inverse roots in 32-bit fixed point, as gemmlowp and TFLite do.

Source: ``fixedpoint/fixedpoint.h`` of gemmlowp: e^x on [-1/4, 0) by a polynomial of degree 4 about -1/8, times
powers of e by the bits of x; quotients by three steps of Newton's method. Arguments have 4 bits before the point,
results none.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mcubench.quant.fixed_point import INT32_MAX, INT32_MIN, high_product, round_half_away, shifted_right

__all__ = ["exp_on_negatives", "inverse_root", "leading_zeros", "logarithm", "logistic", "one_over_one_plus", "tanh"]

_ONE = INT32_MAX  # in a format without bits before the point
_NEWTON_STEPS = 3
_ROOT_STEPS = 5


def _fixed(number: float, integer_bits: int = 0) -> int:
    return min(round_half_away(number * 2 ** (31 - integer_bits)), INT32_MAX)


def _saturated_left(x: Tensor, exponent: int) -> Tensor:
    return (x << exponent).clamp(INT32_MIN, INT32_MAX)


def _half_sum(a: Tensor, b: Tensor | int) -> Tensor:
    """(a + b) / 2, halves away from 0."""
    total = a + b
    return torch.div(total + torch.where(total >= 0, 1, -1), 2, rounding_mode="trunc")


def _exp_on_quarter(a: Tensor) -> Tensor:
    """e^a for a in [-1/4, 0), no bits before the point."""
    constant, third = _fixed(math.exp(-1 / 8)), _fixed(1 / 3)
    x = a + (1 << 28)
    square = high_product(x, x)
    cube = high_product(square, x)
    fourth = high_product(square, square)
    rest = shifted_right(high_product(shifted_right(fourth, 2) + cube, third) + square, 1)
    return constant + high_product(x + rest, torch.tensor(constant))


def exp_on_negatives(a: Tensor, integer_bits: int) -> Tensor:
    """e^a for a <= 0 with so many bits before the point; the result has none."""
    fraction_bits = 31 - integer_bits
    quarter = 1 << (fraction_bits - 2)
    in_quarter = (a & (quarter - 1)) - quarter
    result = _exp_on_quarter(in_quarter << integer_bits)
    remainder = in_quarter - a
    for exponent in range(-2, integer_bits):  # e^(-2^exponent), where that bit is set
        factor = _fixed(math.exp(-(2.0**exponent)))
        has_bit = (remainder & (1 << (fraction_bits + exponent))) != 0
        result = torch.where(has_bit, high_product(result, torch.tensor(factor)), result)
    return torch.where(a == 0, _ONE, result)


def _newton(a: Tensor) -> Tensor:
    """1 / ((1 + a) / 2) for a in [0, 1), with two bits before the point."""
    half = _half_sum(a, _ONE)
    x = _fixed(48 / 17, 2) + high_product(half, torch.tensor(_negative(32 / 17)))
    for _ in range(_NEWTON_STEPS):
        missing = (1 << 29) - high_product(half, x)
        x = x + _saturated_left(high_product(x, missing), 2)
    return x


def _negative(number: float) -> int:
    return round_half_away(-number * 2**29)


def one_over_one_plus(a: Tensor) -> Tensor:
    """1 / (1 + a) for a in [0, 1)."""
    return _saturated_left(_newton(a), 1)


def _one_minus_over_one_plus(a: Tensor) -> Tensor:
    """(1 - a) / (1 + a) for a in [0, 1)."""
    return _saturated_left(_newton(a) - (1 << 29), 2)


def logistic(a: Tensor) -> Tensor:
    """1 / (1 + e^-a), a with 4 bits before the point."""
    positive = one_over_one_plus(exp_on_negatives(-a.abs(), 4))
    result = torch.where(a > 0, positive, _ONE - positive)
    return torch.where(a == 0, 1 << 30, result)


def tanh(a: Tensor) -> Tensor:
    """Hyperbolic tangent, a with 4 bits before the point."""
    doubled = -a.abs()  # read with one more bit before the point, it is twice as much
    result = _one_minus_over_one_plus(exp_on_negatives(doubled, 5))
    return torch.where(a == 0, 0, torch.where(a < 0, -result, result))


def leading_zeros(x: Tensor) -> Tensor:
    """Those of positive int32 values."""
    return 32 - torch.frexp(x.double()).exponent.long()


def logarithm(x: Tensor, integer_bits: int, result_bits: int) -> Tensor:
    """ln(x) for x >= 1, with so many bits before the point (``log_x_for_x_greater_than_or_equal_to_1_impl``).

    x is a power of 2 times r, which lies about 2^(-1/4); the logarithm of r is a quotient of polynomials.
    """
    bits = result_bits + 1  # before the point while it is added up
    quarter = shifted_right(torch.tensor(_fixed(1 / 4)), bits)
    middle, root = _fixed(0.5**0.25), _fixed(0.5**0.5)
    zeros = leading_zeros(x)
    ra = _saturated_left(high_product(x << (zeros - 1), root), 1)
    power_a = _saturated_left(integer_bits - zeros, 31 - bits) + quarter
    zeros = leading_zeros(high_product(x, root)) - 1
    rb = (x << zeros).clamp(INT32_MIN, INT32_MAX)
    power_b = _saturated_left(integer_bits - zeros, 31 - bits) - quarter
    r, power = torch.minimum(ra, rb), torch.maximum(power_a, power_b)
    p, q = _half_sum(r, middle), 2 * (r - middle)
    square = high_product(q, q)
    numerator = high_product(q, r) + high_product(high_product(q, square), _fixed(11 / 240 * 2**0.25))
    inner = _fixed(2 / 2**0.25 - 2**0.25) + q + high_product(square, _fixed(1 / 20 * 2**0.25))
    denominator = high_product(p, inner) + high_product(q, _fixed(1 / 4 * 2**0.25))
    quotient = high_product(shifted_right(numerator, bits), one_over_one_plus(denominator))
    return _saturated_left(high_product(power, _fixed(math.log(2))) + quotient, 1)


def inverse_root(x: Tensor) -> tuple[Tensor, Tensor]:
    """1 / sqrt(x) of integers below 2^31 as multipliers and exponents; 0 counts as 1.

    Source: ``GetInvSqrtQuantizedMultiplierExp`` of TFLite: five steps of Newton's method from 1, on x brought to 1/2 to
    2 by an even power of 2.
    """
    large = x >= 1 << 29
    below = torch.where(large, x >> 2, x).clamp_min(2)
    pairs = (leading_zeros(below) - 1) // 2 - 1  # of bits that it is shifted left by
    a = (below << (2 * pairs)) >> 1  # like the estimate, with three bits before the point
    half, estimate = shifted_right(a, 1), torch.full_like(a, 1 << 28)
    for _ in range(_ROOT_STEPS):
        cube = _saturated_left(high_product(high_product(estimate, estimate), estimate), 6)
        estimate = _saturated_left(high_product(estimate, 3 << 27) - high_product(half, cube), 3)
    exponents = pairs - 11 - large.long()
    multipliers = high_product(estimate, _fixed(0.5**0.5)) << exponents.clamp_min(0)
    return torch.where(x > 1, multipliers, INT32_MAX), torch.where(x > 1, exponents.clamp_max(0), 0)
