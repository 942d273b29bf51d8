"""Softmax in fixed point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mcubench.quant.fixed_point import high_product, multiplier_of, shifted_right
from mcubench.quant.integer.gemmlowp import exp_on_negatives, one_over_one_plus
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import clamped

__all__ = ["Softmax"]

_DIFFERENCE_BITS = 5  # before the point: e^-32 is 0
_SUM_BITS = 12  # before the point: room for 4,096 terms of 1
_RESULT_BITS = 8


@dataclass(frozen=True, eq=False)
class Softmax(Kernel):
    """SOFTMAX over the last axis, on the grid that TFLite prescribes for it (``reference_ops::Softmax``)."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the shares."""
        codes = inputs[0].long()
        factor = min(node.inputs[0].grid.scale * 2 ** (31 - _DIFFERENCE_BITS), 2.0**31 - 1)
        multiplier, exponent = multiplier_of(factor)
        radius = math.floor(((1 << _DIFFERENCE_BITS) - 1) * (1 << (31 - _DIFFERENCE_BITS)) / 2.0**exponent)
        difference = codes - codes.amax(-1, keepdim=True)
        counted = difference >= -radius
        scaled = high_product(difference.clamp_min(-radius) << exponent, multiplier)
        powers = exp_on_negatives(scaled, _DIFFERENCE_BITS)
        total = (shifted_right(powers, _SUM_BITS) * counted).sum(-1, keepdim=True)
        headroom = 32 - _bit_length(total)  # leading zeros of 32 bits
        reciprocal = one_over_one_plus((total << headroom) - 2**31)
        shares = shifted_right(high_product(reciprocal, powers), _SUM_BITS - headroom + 31 - _RESULT_BITS)
        grid = node.output.grid
        return clamped(torch.where(counted, shares + grid.zero_point, grid.zero_point), grid)


def _bit_length(x: Tensor) -> Tensor:
    """Number of bits of positive integers below 2^52."""
    return torch.frexp(x.double()).exponent.long()
