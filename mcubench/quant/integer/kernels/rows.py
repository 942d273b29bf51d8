"""Rows brought to a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mcubench.quant.fixed_point import rescaled
from mcubench.quant.integer.gemmlowp import inverse_root
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped

__all__ = ["RESULT_BITS", "L2Normalize"]

RESULT_BITS = 7  # behind the point


@dataclass(frozen=True, eq=False)
class L2Normalize(Kernel):
    """L2_NORMALIZATION over the last axis, on the grid that TFLite prescribes for it; a row of zeros stays one."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of rows of length 1."""
        x = centred(inputs[0], node.inputs[0].grid)
        multipliers, exponents = inverse_root(x.square().sum(-1, keepdim=True))
        return clamped(rescaled(x, multipliers, exponents + RESULT_BITS), node.output.grid)
