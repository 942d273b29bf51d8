"""Products of matrices that are both computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped, exact_type

__all__ = ["BatchMatmul", "matrix_factor"]

_LARGEST = 255  # code, less its zero point


@dataclass(frozen=True, eq=False)
class BatchMatmul(Kernel):
    """BATCH_MATMUL over the last two axes, of which an operand's may be turned; those before broadcast."""

    left_turned: bool = False
    right_turned: bool = False

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of sums of products."""
        left, right = (
            each.mT if turned else each
            for each, turned in zip(inputs, (self.left_turned, self.right_turned), strict=True)
        )
        first, second, target = node.inputs[0].grid, node.inputs[1].grid, node.output.grid
        exact = exact_type(left.shape[-1], _LARGEST)
        sums = (centred(left, first).to(exact) @ centred(right, second).to(exact)).long()
        return clamped(rescaled(sums, *matrix_factor(first, second, target)) + target.zero_point, target)


def matrix_factor(first: Grid, second: Grid, target: Grid) -> tuple[int, int]:
    """What sums of products are multiplied with: the product of scales is one in single precision."""
    return multiplier_of(float(np.float32(first.scale) * np.float32(second.scale)) / target.scale)
