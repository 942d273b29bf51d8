"""Rounding in float: what the integer graph will round, with gradients that pass straight through inside the range."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid, weight_limit, weight_scales

__all__ = ["fake_quantize", "fake_quantize_weight", "in_bits"]


def in_bits(grid: Grid, bits: int) -> Grid:
    """A grid of int8 with as many levels as `bits` have, over the same range."""
    if bits == 8:
        return grid
    low, high = ((code - grid.zero_point) * grid.scale for code in (ACTIVATION_MIN, ACTIVATION_MAX))
    return replace(Grid.of_range(low, high, bits), bits=8)  # whose codes are stored as those of any int8


def fake_quantize(x: Tensor, grid: Grid, bits: int = 8) -> Tensor:
    """Rounds values to a grid.

    Args:
        x: Floating point, any shape.
        grid: Of `bits`.
        bits: Codes are -2^(bits - 1) to 2^(bits - 1) - 1.

    Returns:
        Values of the grid, of x's type; the gradient is that of the identity, and 0 where x is out of range.
    """
    half: int = 1 << (bits - 1)
    return torch.fake_quantize_per_tensor_affine(x, grid.scale, grid.zero_point, -half, half - 1)


def fake_quantize_weight(weight: Tensor, bits: int, axis: int) -> Tensor:
    """Rounds a weight symmetrically, with a scale for each output channel, which `weight_scales` finds anew.

    Args:
        weight: Floating point.
        bits: 2, 4 or 8.
        axis: That of the output channels; a vector is the weight of a single one.

    Returns:
        The rounded weight, with the gradient of `fake_quantize`.
    """
    if weight.ndim == 1:
        return fake_quantize_weight(weight[None], bits, 0)[0]
    axis %= weight.ndim
    with torch.no_grad():
        scales = weight_scales(weight, bits, axis)
        zeros = torch.zeros_like(scales, dtype=torch.int32)
    limit = weight_limit(bits)
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros, axis, -limit, limit)
