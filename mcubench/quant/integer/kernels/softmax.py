"""Softmax, and its logarithm, in fixed point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mcubench.quant.fixed_point import high_product, multiplier_of, rescaled, shifted_right
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid
from mcubench.quant.integer.gemmlowp import exp_on_negatives, leading_zeros, logarithm, one_over_one_plus
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import clamped

__all__ = ["RESULT_BITS", "SUM_BITS", "LogSoftmax", "Softmax"]

_DIFFERENCE_BITS = 5  # before the point: e^-32 is 0
SUM_BITS = 12  # before the point: room for 4,096 terms of 1
RESULT_BITS = 8
_LOG_BITS = 4  # before the point of a logarithm
_LEAST = -17  # logarithms of shares below it have the lowest code

_LEVELS = ACTIVATION_MAX - ACTIVATION_MIN + 1


@dataclass(frozen=True, eq=False)
class Softmax(Kernel):
    """SOFTMAX over the last axis, on the grid that TFLite prescribes for it (``reference_ops::Softmax``)."""

    # A term is at most 2^19. From a sum of 2^28 on, the last shift is by 32 bits: TFLite Micro is built to stop there
    # or, without its assertions, computes what C leaves undefined.
    LARGEST: ClassVar[int] = 2**28 // 2**19 - 1

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the shares."""
        codes = inputs[0].long()
        powers = self.powers(node.inputs[0].grid)  # by the difference to the largest code
        difference = codes.amax(-1, keepdim=True) - codes
        counted = difference < len(powers)
        found = powers[difference.clamp_max(len(powers) - 1)]
        total = (shifted_right(found, SUM_BITS) * counted).sum(-1, keepdim=True)
        headroom = leading_zeros(total)
        reciprocal = one_over_one_plus((total << headroom) - 2**31)
        shares = shifted_right(high_product(reciprocal, found), SUM_BITS - headroom + 31 - RESULT_BITS)
        grid = node.output.grid
        return clamped(torch.where(counted, shares + grid.zero_point, grid.zero_point), grid)

    def powers(self, grid: Grid) -> Tensor:
        """e^-d in fixed point, nothing before the point, int64, for differences of codes that are not taken for 0."""
        return exp_on_negatives(_arguments(grid), _DIFFERENCE_BITS)


@dataclass(frozen=True, eq=False)
class LogSoftmax(Kernel):
    """LOG_SOFTMAX over the last axis, on the grid that TFLite prescribes for it (``LogSoftmaxQuantized``)."""

    LARGEST: ClassVar[int] = 2**31 // 2**19 - 1  # values whose sum 32 bits hold

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the logarithms."""
        codes, grid = inputs[0].long(), node.inputs[0].grid
        terms, arguments = self.terms(grid), self.arguments(grid)
        difference = codes.amax(-1, keepdim=True) - codes
        counted = difference < len(terms)
        difference = difference.clamp_max(len(terms) - 1)
        log_of_sum = logarithm((terms[difference] * counted).sum(-1, keepdim=True), SUM_BITS, _DIFFERENCE_BITS)
        found = shifted_right(arguments[difference] - log_of_sum, 31 - _DIFFERENCE_BITS - _LOG_BITS)
        return clamped(torch.where(counted, found + node.output.grid.zero_point, ACTIVATION_MIN), node.output.grid)

    def terms(self, grid: Grid) -> Tensor:
        """What e^-d adds to the sum, 12 bits before the point, int64, for differences that are not taken for 0."""
        return shifted_right(exp_on_negatives(_arguments(grid), _DIFFERENCE_BITS), SUM_BITS)

    def arguments(self, grid: Grid) -> Tensor:
        """-d, 5 bits before the point, for the same differences; what lies far below has the lowest code anyway."""
        return _arguments(grid).clamp_min(_LEAST << (31 - _DIFFERENCE_BITS))


def _arguments(grid: Grid) -> Tensor:
    """-d for the differences of codes for which e^-d is not taken for 0, with 5 bits before the point."""
    factor = min(grid.scale * 2 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
    multiplier, exponent = multiplier_of(factor)
    radius = math.floor(((1 << _DIFFERENCE_BITS) - 1) * (1 << (31 - _DIFFERENCE_BITS)) / 2.0**exponent)
    differences = torch.arange(min(radius, _LEVELS - 1) + 1)
    return rescaled(-differences, multiplier, exponent)
