"""What kernels share: the ranges of fused activations, the scales of products, exact sums."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled, round_half_away
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import Filter

__all__ = [
    "Pair",
    "Pairs",
    "activation_limits",
    "centred",
    "clamped",
    "exact_type",
    "factors",
    "requantised",
    "same_padding",
]

Pair = tuple[int, int]
Pairs = tuple[Pair, Pair]

_BOUNDS = {"relu": (0.0, None), "relu6": (0.0, 6.0), "relu_n1_to_1": (-1.0, 1.0)}
_FLOAT32_EXACT = 2**24  # below it, sums of integers are exact in single precision


def clamped(x: Tensor, grid: Grid, activation: str | None = None) -> Tensor:
    """Codes within their type and the range of a fused activation."""
    return x.clamp(*activation_limits(grid, activation)).to(grid.dtype)


def activation_limits(grid: Grid, activation: str | None = None) -> Pair:
    """The smallest and the largest code behind an activation (``CalculateActivationRangeQuantized``)."""
    low, high = grid.ends
    if activation is not None:
        minimum, maximum = _BOUNDS[activation]
        low = max(low, grid.zero_point + _code(minimum, grid.scale))
        high = high if maximum is None else min(high, grid.zero_point + _code(maximum, grid.scale))
    return low, high


def _code(bound: float, scale: float) -> int:
    return round_half_away(float(np.float32(bound) / np.float32(scale)))


def centred(codes: Tensor, grid: Grid) -> Tensor:
    """Codes, int64, so that 0 stands for 0."""
    return codes.long() - grid.zero_point


def exact_type(terms: int, largest_weight: int = 128, bits: int = 8) -> torch.dtype:
    """The float type in which a sum of so many products of a weight and a centred code of `bits` is exact."""
    return torch.float32 if terms * largest_weight * ((1 << bits) - 1) < _FLOAT32_EXACT else torch.float64


def factors(filter_: Filter, source: Grid, target: Grid) -> tuple[Tensor, Tensor]:
    """What sums of products are multiplied with (``PopulateConvolutionQuantizationParams``).

    The product of scales is one in double precision, also where there is a single one; TFLite Micro's sources of August
    2026 still have it in single precision there, which differs where a sum is next to a half.

    Args:
        filter_: The weights that they were made with.
        source: The grid of the input.
        target: That of the output.

    Returns:
        Multipliers and exponents, as `multiplier_of` gives them, int64, one for each scale of the filter.
    """
    products = filter_.scales.double() * source.scale
    found = [multiplier_of(float(product) / target.scale) for product in products]
    multipliers, exponents = (torch.tensor(each) for each in zip(*found, strict=True))
    return multipliers, exponents


def requantised(sums: Tensor, filter_: Filter, source: Grid, target: Grid, activation: str | None) -> Tensor:
    """Codes of sums of products with their bias, int64, channels last; the other arguments are those of `factors`."""
    rounded = rescaled(sums, *factors(filter_, source, target))
    return clamped(rounded + target.zero_point, target, activation)


def same_padding(size: Pair, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Pairs:
    """What TFLite's padding ``SAME`` puts around: the odd one behind."""
    found = []
    for length, taps, step, spread in zip(size, kernel, stride, dilation, strict=True):
        total = max((-(-length // step) - 1) * step + (taps - 1) * spread + 1 - length, 0)
        found.append((total // 2, total - total // 2))
    return found[0], found[1]
