"""Sums over axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped

__all__ = ["Sum", "total_factor"]


@dataclass(frozen=True, eq=False)
class Sum(Kernel):
    """SUM over axes that follow each other, the batch counted; they stay, of length 1 (``QuantizedMeanOrSum``)."""

    axes: tuple[int, ...]

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the sums."""
        source, target = node.inputs[0].grid, node.output.grid
        sums = centred(inputs[0], source).sum(self.axes, keepdim=True)
        return clamped(rescaled(sums, *total_factor(source, target)) + target.zero_point, target)


def total_factor(source: Grid, target: Grid) -> tuple[int, int]:
    """What sums are multiplied with."""
    return multiplier_of(source.scale / target.scale)
