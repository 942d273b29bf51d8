"""Products of matrices that are both computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mcubench.quant.fixed_point import rescaled
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped, exact_type
from mcubench.quant.integer.kernels.elementwise import product_factor

__all__ = ["BatchMatmul"]

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
        return clamped(rescaled(sums, *product_factor(first, second, target)) + target.zero_point, target)
