"""Ranges: hand-computed averages, and a search over all clippings as the reference of the least error."""

from __future__ import annotations

import pytest
import torch

from mcubench.quant.grid import Grid
from mcubench.quant.training.observers import averaged, batch_extremes, batch_least_error


def test_the_first_hundred_batches_have_equal_shares() -> None:
    found = (-1.0, 2.0)
    for batches, new in enumerate([(-3.0, 4.0), (-5.0, 0.0)], 1):
        found = averaged(found, new, batches)
    assert found == pytest.approx((-3.0, 2.0))


def test_later_ones_a_hundredth() -> None:
    assert averaged((0.0, 1.0), (-1.0, 3.0), 99) == pytest.approx((-0.01, 1.02))
    assert averaged((0.0, 1.0), (-1.0, 3.0), 5000) == pytest.approx((-0.01, 1.02))


def test_extremes() -> None:
    x = torch.tensor([[0.5, -0.25], [3.0, 1.0]], requires_grad=True)
    ends = batch_extremes(x, 8)
    assert ends.tolist() == [-0.25, 3.0]
    assert not ends.requires_grad


def error(x: torch.Tensor, low: float, high: float) -> float:
    grid = Grid.of_range(low, high, 4)
    codes = (torch.round(x.double() / grid.scale) + grid.zero_point).clamp(-8, 7)
    return float((x - (codes - grid.zero_point) * grid.scale).square().sum())


@pytest.mark.parametrize("outlier", [None, 40.0])
def test_the_least_error_at_four_bits(outlier: float | None) -> None:
    x = torch.randn(3000, generator=torch.Generator().manual_seed(0)).relu()
    if outlier is not None:
        x[17] = outlier
    low, high = batch_least_error(x, 4).tolist()
    assert low == 0
    best = min(error(x, 0, float(x.max()) * share / 1000) for share in range(300, 1001))
    assert error(x, low, high) <= 1.05 * best
    assert error(x, low, high) < error(x, 0, float(x.max()))


def test_uniform_values_are_not_clipped() -> None:
    x = torch.linspace(-1, 1, 1000)
    assert batch_least_error(x, 8).tolist() == pytest.approx([-1, 1])


def test_not_finite_stays_so() -> None:
    """Whoever takes the range must see it."""
    assert not batch_extremes(torch.tensor([0.0, float("nan")]), 8).isfinite().all()
    assert not batch_least_error(torch.tensor([0.0, float("inf")]), 8).isfinite().all()
