"""Fake quantisation and its gradient: hand-computed cases, and `mcubench.quant.grid` in double precision."""

from __future__ import annotations

import pytest
import torch

from mcubench.quant.grid import Grid, weight_codes, weight_scales
from mcubench.quant.training.fake import fake_quantize, fake_quantize_weight, in_bits


def test_values_and_gradients_by_hand() -> None:
    """Range -1 to 1.55 in 255 steps of 0.01, zero point -28: gradients pass inside and stop outside."""
    x = torch.tensor([-2.0, -1.0, -0.004, 0.006, 0.5, 1.55, 3.0], requires_grad=True)
    y = fake_quantize(x, Grid(0.01, -28))
    (y * torch.arange(1.0, 8)).sum().backward()
    assert y.tolist() == pytest.approx([-1.0, -1.0, 0.0, 0.01, 0.5, 1.55, 1.55], abs=1e-6)
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 3, 4, 5, 6, 0]


@pytest.mark.parametrize("bits", [4, 8])
def test_it_is_the_grid_of_the_range(bits: int) -> None:
    x = torch.linspace(-3, 3, 1001)
    grid = Grid.of_range(-1.3, 2.1, bits)
    half = 2 ** (bits - 1)
    codes = (torch.round(x.double() / grid.scale) + grid.zero_point).clamp(-half, half - 1)
    expected = (codes - grid.zero_point) * grid.scale
    found = fake_quantize(x, grid, bits)
    assert len(found.unique()) == 2**bits
    assert (found - expected).abs().max() < 1.01 * grid.scale
    assert ((found - expected).abs() < 1e-5).float().mean() > 0.99  # ties may be rounded to either side


def test_a_fixed_grid_in_fewer_bits_covers_the_same_range() -> None:
    assert in_bits(Grid(1 / 256, -128), 8) == Grid(1 / 256, -128)
    grid = in_bits(Grid(1 / 256, -128), 4)
    assert grid.zero_point == -8
    assert grid.scale == pytest.approx(255 / 256 / 15)


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize(("shape", "axis"), [((5, 7), 0), ((7, 5), -1), ((3, 5, 2, 2), 1), ((4, 3, 3, 3), 0)])
def test_weights_are_codes_times_scales(bits: int, shape: tuple[int, ...], axis: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    axis %= len(shape)
    scales = weight_scales(weight, bits, axis)
    column = [1] * len(shape)
    column[axis] = -1
    expected = weight_codes(weight, scales, bits, axis) * scales.reshape(column)
    assert torch.allclose(fake_quantize_weight(weight, bits, axis), expected, atol=1e-6)


def test_a_vector_is_the_weight_of_one_channel() -> None:
    """Largest 1.27: the step is 0.01."""
    found = fake_quantize_weight(torch.tensor([1.27, 0.004, -0.017]), 8, -1)
    assert found.tolist() == pytest.approx([1.27, 0.0, -0.02])


def test_gradients_of_clipped_weights_by_hand() -> None:
    """Two bits: all but the one outlier lie inside of its clipping, and only their gradients pass."""
    weight = torch.tensor([[0.1, -0.1, 0.1, -0.1, 0.1, 1.0]], requires_grad=True)
    scale = float(weight_scales(weight, 2, 0))
    inside = (weight.detach().abs() <= 1.5 * scale).float()
    fake_quantize_weight(weight, 2, 0).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, inside)
