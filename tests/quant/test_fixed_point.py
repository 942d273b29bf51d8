"""Fixed-point arithmetic. The reference is the same arithmetic on Python's integers, as the C++ sources have it."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mcubench.quant.fixed_point import (
    INT32_MAX,
    INT32_MIN,
    high_product,
    multiplier_of,
    rescaled,
    round_half_away,
    shifted_right,
)

INT32 = st.integers(INT32_MIN, INT32_MAX)


def truncated(numerator: int, denominator: int) -> int:
    """C's division."""
    return math.trunc(Fraction(numerator, denominator))


def saturating_rounding_doubling_high_mul(a: int, b: int) -> int:
    nudge = (1 << 30) if a * b >= 0 else 1 - (1 << 30)
    return truncated(a * b + nudge, 1 << 31)


def rounding_divide_by_pot(x: int, exponent: int) -> int:
    mask = (1 << exponent) - 1
    remainder, threshold = x & mask, (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if remainder > threshold else 0)


@given(INT32, st.integers(0, INT32_MAX))
def test_high_product_is_gemmlowps(a: int, b: int) -> None:
    assert high_product(torch.tensor(a), torch.tensor(b)) == saturating_rounding_doubling_high_mul(a, b)


@given(INT32, st.integers(0, 31))
def test_shifted_right_is_gemmlowps(x: int, exponent: int) -> None:
    assert shifted_right(torch.tensor(x), exponent) == rounding_divide_by_pot(x, exponent)


@pytest.mark.parametrize(("x", "exponent", "wanted"), [(5, 1, 3), (-5, 1, -3), (6, 2, 2), (-6, 2, -2), (-7, 0, -7)])
def test_halves_are_rounded_away_from_zero(x: int, exponent: int, wanted: int) -> None:
    assert shifted_right(torch.tensor(x), exponent) == wanted


@given(st.floats(1e-9, 1e4))
def test_a_factor_is_its_multiplier_times_a_power_of_two(number: float) -> None:
    multiplier, exponent = multiplier_of(number)
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (exponent - 31) == pytest.approx(number, rel=2**-31)


def test_factors_beyond_the_shifts_are_zero() -> None:
    assert multiplier_of(0.0) == (0, 0)
    assert multiplier_of(2.0**-40) == (0, 0)
    assert multiplier_of(1 - 2**-40) == (2**30, 1)  # rounds up to 1


@given(st.integers(-(2**24), 2**24), st.floats(1e-6, 0.99))
def test_rescaling_rounds_twice(x: int, number: float) -> None:
    multiplier, exponent = multiplier_of(number)
    left, right = max(exponent, 0), max(-exponent, 0)
    wanted = rounding_divide_by_pot(saturating_rounding_doubling_high_mul(x << left, multiplier), right)
    assert rescaled(torch.tensor(x), multiplier, exponent) == wanted
    assert abs(wanted - x * number) <= 1


def test_two_roundings_are_not_one() -> None:
    """3/8 by hand: the multiplier 1/2 makes 3 to 1.5 and so 2; a quarter of it, 0.5, is 1. One rounding gives 0."""
    multiplier, exponent = multiplier_of(1 / 8)
    assert (multiplier, exponent) == (2**30, -2)
    assert rescaled(torch.tensor([3, -3, 4, -4, 2]), multiplier, exponent).tolist() == [1, 0, 1, -1, 0]
    assert round_half_away(3 / 8) == 0
