"""Sums and means over axes that follow each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import Mean, Sum

__all__: list[str] = []

_BODY = """
    int32_t row, channel, i;
    for (row = 0; row < $rows; row++, x += $count * $size)
        for (channel = 0; channel < $size; channel++) {
            int32_t sum = 0;
            for (i = 0; i < $count; i++)
                sum += x[i * $size + channel] - ($source);
            *y++ = clamped(rescaled(sum, $multiplier, $exponent) + $target, -128, 127);
        }
"""


@EMITTERS.register("Sum")
def sums(step: Step, unit: Unit) -> Function:
    """One after the other."""
    from mcubench.quant.integer.kernels.reductions import total_factor

    return _by_column(step, unit, total_factor(step.x.grid, step.output.grid))


@EMITTERS.register("Mean")
def means(step: Step, unit: Unit) -> Function:
    """Sums, with another factor."""
    from mcubench.quant.integer.kernels.reductions import mean_factor

    return _by_column(step, unit, mean_factor(step.x.grid, step.output.grid, _counts(step)[1]))


def _counts(step: Step) -> tuple[int, int, int]:
    """Rows, what is summed up in each, and columns."""
    kernel: Sum | Mean = step.kernel  # type: ignore[assignment]
    shape, first, last = step.x.shape, kernel.axes[0], kernel.axes[-1]
    return math.prod(shape[:first]), math.prod(shape[first : last + 1]), math.prod(shape[last + 1 :])


def _by_column(step: Step, unit: Unit, factor: tuple[int, int]) -> Function:
    unit.use("rescaled", "clamped")
    rows, count, size = _counts(step)
    values = {
        "rows": rows,
        "count": count,
        "size": size,
        "source": step.x.grid.zero_point,
        "target": step.output.grid.zero_point,
        "multiplier": factor[0],
        "exponent": factor[1],
    }
    return Function(fill(_BODY, **values))
