"""Sums, differences and products of tensors, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped

__all__ = [
    "LEFT_SHIFT",
    "Add",
    "Maximum",
    "Minimum",
    "Multiply",
    "PRelu",
    "Subtract",
    "prelu_factors",
    "product_factor",
    "sum_factors",
]

LEFT_SHIFT = 20  # room for digits behind the point, in add.cc and sub.cc
_LEFT_SHIFT_16 = 15  # of int16


@dataclass(frozen=True, eq=False)
class Add(Kernel):
    """ADD: both are brought to twice the larger scale."""

    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the sum."""
        return _combined(node, inputs, 1, self.activation)


@dataclass(frozen=True, eq=False)
class Subtract(Kernel):
    """SUB."""

    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the difference."""
        return _combined(node, inputs, -1, self.activation)


@dataclass(frozen=True, eq=False)
class Multiply(Kernel):
    """MUL."""

    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the product."""
        first, second, target = node.inputs[0].grid, node.inputs[1].grid, node.output.grid
        left, right = _same_rank(inputs)
        products = centred(left, first) * centred(right, second)
        return clamped(
            rescaled(products, *product_factor(first, second, target)) + target.zero_point, target, self.activation
        )


@dataclass(frozen=True, eq=False)
class Maximum(Kernel):
    """MAXIMUM; all have one grid."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """The larger codes."""
        return torch.maximum(*_same_rank(inputs))


@dataclass(frozen=True, eq=False)
class Minimum(Kernel):
    """MINIMUM; all have one grid."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """The smaller codes."""
        return torch.minimum(*_same_rank(inputs))


@dataclass(frozen=True, eq=False)
class PRelu(Kernel):
    """PRELU: values below 0 times a constant, the second input."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Two factors, one for each side."""
        source, slopes, target = node.inputs[0].grid, node.inputs[1].grid, node.output.grid
        left, right = _same_rank(inputs)
        x, slope = centred(left, source), centred(right, slopes)
        positive, negative = prelu_factors(source, slopes, target)
        results = torch.where(x >= 0, rescaled(x, *positive), rescaled(x * slope, *negative))
        return clamped(results + target.zero_point, target)


def prelu_factors(source: Grid, slopes: Grid, target: Grid) -> tuple[tuple[int, int], tuple[int, int]]:
    """What values above 0 are multiplied with, and the products of others with their slopes."""
    return multiplier_of(source.scale / target.scale), multiplier_of(source.scale * slopes.scale / target.scale)


def sum_factors(first: Grid, second: Grid, target: Grid) -> list[tuple[int, int]]:
    """What terms, shifted left, are multiplied with, one after the other, and what their sum is; as `multiplier_of`."""
    common = 2.0 * float(np.float32(max(first.scale, second.scale)))
    return [
        *(multiplier_of(each.scale / common) for each in (first, second)),
        multiplier_of(common / ((1 << left_shift(target)) * target.scale)),
    ]


def left_shift(target: Grid) -> int:
    """How far terms are shifted left before they are rescaled."""
    return LEFT_SHIFT if target.bits == 8 else _LEFT_SHIFT_16


def product_factor(first: Grid, second: Grid, target: Grid) -> tuple[int, int]:
    """What a product is multiplied with."""
    return multiplier_of(first.scale * second.scale / target.scale)


def _same_rank(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Axes of size 1 behind the batch, so that samples broadcast as on a device, where the batch is 1."""
    rank = max(each.ndim for each in inputs)
    return [each.reshape(len(each), *(1,) * (rank - each.ndim), *each.shape[1:]) for each in inputs]


def _combined(node: IntegerNode, inputs: Sequence[Tensor], sign: int, activation: str | None) -> Tensor:
    """Codes of the first plus or minus the second."""
    grids, target = [each.grid for each in node.inputs], node.output.grid
    *each, last = sum_factors(grids[0], grids[1], target)
    left, right = (
        rescaled(centred(term, grid) << left_shift(target), *factor)
        for term, grid, factor in zip(_same_rank(inputs), grids, each, strict=True)
    )
    return clamped(rescaled(left + sign * right, *last) + target.zero_point, target, activation)
