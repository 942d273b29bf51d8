"""Sums over axes that follow each other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import Sum

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

    kernel: Sum = step.kernel  # type: ignore[assignment]
    shape, first, last = step.x.shape, kernel.axes[0], kernel.axes[-1]
    multiplier, exponent = total_factor(step.x.grid, step.output.grid)
    unit.use("rescaled", "clamped")
    values = {
        "rows": math.prod(shape[:first]),
        "count": math.prod(shape[first : last + 1]),
        "size": math.prod(shape[last + 1 :]),
        "source": step.x.grid.zero_point,
        "target": step.output.grid.zero_point,
        "multiplier": multiplier,
        "exponent": exponent,
    }
    return Function(fill(_BODY, **values))
