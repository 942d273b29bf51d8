"""Softmax in fixed point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from mcubench.quant.fixed_point import high_product, multiplier_of, shifted_right
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid
from mcubench.quant.integer.gemmlowp import exp_on_negatives, one_over_one_plus
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import clamped

__all__ = ["RESULT_BITS", "SUM_BITS", "Softmax"]

_DIFFERENCE_BITS = 5  # before the point: e^-32 is 0
SUM_BITS = 12  # before the point: room for 4,096 terms of 1
RESULT_BITS = 8

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
        headroom = 32 - _bit_length(total)  # leading zeros of 32 bits
        reciprocal = one_over_one_plus((total << headroom) - 2**31)
        shares = shifted_right(high_product(reciprocal, found), SUM_BITS - headroom + 31 - RESULT_BITS)
        grid = node.output.grid
        return clamped(torch.where(counted, shares + grid.zero_point, grid.zero_point), grid)

    def powers(self, grid: Grid) -> Tensor:
        """e^-d in fixed point, nothing before the point, int64, for differences of codes that are not taken for 0."""
        factor = min(grid.scale * 2 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
        multiplier, exponent = multiplier_of(factor)
        radius = math.floor(((1 << _DIFFERENCE_BITS) - 1) * (1 << (31 - _DIFFERENCE_BITS)) / 2.0**exponent)
        differences = torch.arange(min(radius, _LEVELS - 1) + 1)
        return exp_on_negatives(high_product(-differences << exponent, multiplier), _DIFFERENCE_BITS)


def _bit_length(x: Tensor) -> Tensor:
    """Number of bits of positive integers below 2^52."""
    return torch.frexp(x.double()).exponent.long()
