"""Grids of values and weights: hand counts, and the properties that TFLite's quantisation specification asks for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mcubench.quant.grid import Grid, weight_codes, weight_limit, weight_scales

FINITE = st.floats(-1e6, 1e6, width=32)


def test_ranges_by_hand() -> None:
    assert Grid.of_range(-1.28, 1.27) == Grid(float(np.float32(0.01)), 0)
    assert Grid.of_range(0.0, 25.5) == Grid(float(np.float32(0.1)), -128)
    assert Grid.of_range(-25.5, 0.0) == Grid(float(np.float32(0.1)), 127)


def test_a_range_without_zero_is_widened_to_it() -> None:
    assert Grid.of_range(3.0, 5.1) == Grid.of_range(0.0, 5.1)
    assert Grid.of_range(-5.1, -3.0) == Grid.of_range(-5.1, 0.0)


@given(FINITE, FINITE)
def test_zero_is_held_exactly_and_ends_to_half_a_level(first: float, second: float) -> None:
    low, high = min(first, second), max(first, second)
    grid = Grid.of_range(low, high)
    assert -128 <= grid.zero_point <= 127
    assert grid.scale > 0
    assert grid.values(grid.codes(torch.zeros(1))) == 0
    for end in (min(low, 0.0), max(high, 0.0)):
        assert abs(float(grid.values(grid.codes(torch.tensor([end], dtype=torch.double)))) - end) <= 0.51 * grid.scale


def test_values_that_are_all_zero_have_a_grid() -> None:
    grid = Grid.of_range(0.0, 0.0)
    assert grid.values(grid.codes(torch.zeros(3))).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bound", [float("nan"), float("inf")])
def test_a_range_that_is_not_finite_is_refused(bound: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        Grid.of_range(-1.0, bound)


def test_codes_out_of_range_are_clipped() -> None:
    assert Grid(0.5, 10).codes(torch.tensor([0.0, 0.5, -0.74, 1000.0, -1000.0])).tolist() == [10, 11, 9, 127, -128]


@pytest.mark.parametrize(("bits", "limit"), [(8, 127), (4, 7), (2, 1)])
def test_limits_of_symmetric_weights(bits: int, limit: int) -> None:
    assert weight_limit(bits) == limit


def test_eight_bits_reach_to_the_largest_weight_of_each_channel() -> None:
    weight = torch.tensor([[1.27, -0.5], [0.1, -2.54]])
    scales = weight_scales(weight, 8, 0)
    assert scales.tolist() == pytest.approx([0.01, 0.02])
    assert weight_codes(weight, scales, 8, 0).tolist() == [[127, -50], [5, -127]]
    assert weight_scales(weight.T, 8, 1).tolist() == pytest.approx([0.01, 0.02])


@pytest.mark.parametrize("bits", [2, 4])
def test_narrow_weights_have_no_more_error_than_any_other_clipping(bits: int) -> None:
    """Against a finer search over scales than the one under test."""
    torch.manual_seed(0)
    weight = torch.randn(5, 200)
    scales = weight_scales(weight, bits, 0)
    limit = weight_limit(bits)

    def error(candidate: torch.Tensor) -> torch.Tensor:
        rounded = (weight / candidate[:, None]).round().clamp(-limit, limit) * candidate[:, None]
        return (rounded - weight).square().sum(1)

    best = torch.stack([error(weight.abs().amax(1) / limit * ratio) for ratio in torch.linspace(0.02, 1, 500)]).amin(0)
    assert bool((error(scales) <= 1.02 * best).all())
    assert bool((error(scales) < 0.95 * error(weight.abs().amax(1) / limit)).all())


@pytest.mark.parametrize("bits", [2, 4, 8])
@given(st.floats(2**-10, 2**10))
def test_scaling_a_channel_changes_no_code(bits: int, factor: float) -> None:
    """So training sees the codes that are stored after a batch norm is folded; but for the last bit of a float."""
    weight = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    codes = weight_codes(weight, weight_scales(weight, bits, 0), bits, 0)
    scaled = weight * factor
    again = weight_codes(scaled, weight_scales(scaled, bits, 0), bits, 0)
    assert int((codes != again).sum()) <= 1
    assert int((codes - again).abs().max()) <= 1


def test_a_channel_of_zeros_has_the_scale_of_another() -> None:
    weight = torch.tensor([[0.0, 0.0], [1.27, 0.3], [2.54, 0.0]])
    assert weight_scales(weight, 8, 0).tolist() == pytest.approx([0.01, 0.01, 0.02])
    assert weight_scales(torch.zeros(2, 3), 8, 0).tolist() == [1, 1]
