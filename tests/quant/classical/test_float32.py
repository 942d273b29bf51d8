"""Functions in float32 against numpy's in float64, and sums against loops that round every step."""

from __future__ import annotations

import numpy as np
import pytest

from mcubench.quant.classical import float32
from mcubench.quant.classical.float32 import exponential, nearest, sigmoid, sums_in_order, tanh
from mcubench.quant.grid import Grid


def test_the_exponential_is_off_by_less_than_a_rounding_or_two() -> None:
    x = np.linspace(-87, 88, 200_001, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(exponential(x) - exact) / exact) < 1.3e-7


def test_beyond_its_range_it_is_0_or_as_at_its_end() -> None:
    x = np.array([-np.inf, -200, -87.1, 88.0, 89.0, 1e30], np.float32)
    assert exponential(x)[:3].tolist() == [0, 0, 0]
    assert len(set(exponential(x)[3:].tolist())) == 1


def test_a_series_that_ends_too_early_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(float32, "SERIES", float32.SERIES[2:])
    with pytest.raises(AssertionError):
        test_the_exponential_is_off_by_less_than_a_rounding_or_two()


@pytest.mark.parametrize(
    ("function", "reference"), [(tanh, np.tanh), (sigmoid, lambda x: 1 / (1 + np.exp(-x)))], ids=["tanh", "sigmoid"]
)
def test_others_are_numpys(function: type, reference: type) -> None:
    x = np.concatenate([np.linspace(-20, 20, 100_001), [-1e30, -88, -0.0, 1e-20, 88, 1e30]]).astype(np.float32)
    with np.errstate(over="ignore"):
        assert np.max(np.abs(function(x) - reference(x.astype(np.float64)))) < 1.3e-7


def test_sums_are_rounded_after_each_product_and_each_sum() -> None:
    random = np.random.default_rng(0)
    x, weight = (random.normal(size=(n, 40)).astype(np.float32) for n in (3, 2))
    found = sums_in_order(x, weight)
    for row, each in enumerate(x):
        for output, own in enumerate(weight):
            total = np.float32(0)
            for a, b in zip(each, own, strict=True):
                total = np.float32(total + np.float32(a * b))
            assert found[row, output] == total
    assert (found != (x @ weight.T)).any(), "the order matters here"


def test_codes_are_the_nearest_and_of_two_the_even_one() -> None:
    values = np.array([-1e30, -128.6, -2.5, -1.5, -0.5, 0.5, 1.5, 126.5, 127.4, 1e30], np.float32)
    assert nearest(values, Grid(1.0, 0)).tolist() == [-128, -128, -2, -2, 0, 0, 2, 126, 127, 127]
