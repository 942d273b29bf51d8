"""Products of matrices that are both computed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.operands import pointers
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import BatchMatmul

__all__: list[str] = []

_BODY = """
    int32_t matrix, row, column, i;
    for (matrix = 0; matrix < $count; matrix++)
        for (row = 0; row < $rows; row++)
            for (column = 0; column < $columns; column++) {
                const int8_t *a = $left + $left_matrix * matrix + $left_line * row;
                const int8_t *b = $right + $right_matrix * matrix + $right_line * column;
                int32_t sum = 0;
                for (i = 0; i < $terms; i++, a += $left_term, b += $right_term)
                    sum += (*a - ($left_zero)) * (*b - ($right_zero));
                *y++ = clamped(rescaled(sum, $multiplier, $exponent) + $target, -128, 127);
            }
"""


@EMITTERS.register("BatchMatmul")
def products(step: Step, unit: Unit) -> Function:
    """Each element by itself; steps from term to term and from line to line say what is turned."""
    from mcubench.quant.integer.kernels.elementwise import product_factor

    unit.use("rescaled", "clamped")
    kernel: BatchMatmul = step.kernel  # type: ignore[assignment]
    first, second, target = step.inputs[0].grid, step.inputs[1].grid, step.output.grid
    left, right = pointers(step, unit)
    *lead, rows, columns = step.output.shape
    *_, above, across = step.x.shape
    terms = above if kernel.left_turned else across
    multiplier, exponent = product_factor(first, second, target)
    values = {
        **{"count": math.prod(lead), "rows": rows, "columns": columns, "terms": terms},
        **{"left": left, "right": right, "left_zero": first.zero_point, "right_zero": second.zero_point},
        **{"multiplier": multiplier, "exponent": exponent, "target": target.zero_point},
        **_steps("left", rows, terms, kernel.left_turned, math.prod(step.x.shape[:-2])),
        **_steps("right", columns, terms, not kernel.right_turned, math.prod(step.inputs[1].shape[:-2])),
    }
    return Function(fill(_BODY, **values))


def _steps(side: str, lines: int, terms: int, turned: bool, count: int) -> dict[str, int]:
    """From matrix to matrix, which is none where one is for all, from line to line and from term to term."""
    line, term = (1, lines) if turned else (terms, 1)
    return {f"{side}_matrix": lines * terms if count > 1 else 0, f"{side}_line": line, f"{side}_term": term}
