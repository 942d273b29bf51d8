"""Sums and means over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped

__all__ = ["Mean", "Sum", "mean_factor", "total_factor"]


@dataclass(frozen=True, eq=False)
class Sum(Kernel):
    """SUM over axes that follow each other, the batch counted (``QuantizedMeanOrSum``); they may stay, of length 1."""

    axes: tuple[int, ...]

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the sums."""
        return _total(node, inputs[0], self.axes, total_factor(node.inputs[0].grid, node.output.grid))


@dataclass(frozen=True, eq=False)
class Mean(Kernel):
    """MEAN, the same with another factor: one that is cut off, so that a mean may be smaller by 1 than the nearest."""

    axes: tuple[int, ...]

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the means."""
        count = math.prod(inputs[0].shape[axis] for axis in self.axes)
        return _total(node, inputs[0], self.axes, mean_factor(node.inputs[0].grid, node.output.grid, count))


def _total(node: IntegerNode, x: Tensor, axes: tuple[int, ...], factor: tuple[int, int]) -> Tensor:
    target = node.output.grid
    sums = rescaled(centred(x, node.inputs[0].grid).sum(axes), *factor)
    return clamped(sums + target.zero_point, target).reshape(len(x), *node.output.shape[1:])


def total_factor(source: Grid, target: Grid) -> tuple[int, int]:
    """What sums are multiplied with."""
    return multiplier_of(source.scale / target.scale)


def mean_factor(source: Grid, target: Grid, count: int) -> tuple[int, int]:
    """What sums of so many are multiplied with, for their mean."""
    multiplier, exponent = total_factor(source, target)
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    return (multiplier << shift) // count, exponent - shift
