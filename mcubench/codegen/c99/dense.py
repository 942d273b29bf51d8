"""Dense layers."""

from __future__ import annotations

from mcubench.codegen.c99.outputs import manner, outputs_table
from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_ONE = "    outputs_${bits}_$manner(&$table, x, y);"
_ROWS = """
    int32_t row;
    for (row = 0; row < $rows; row++)
        outputs_${bits}_$manner(&$table, x + $taps * row, y + $outputs * row);
"""


@EMITTERS.register("FullyConnected")
def dense(step: Step, unit: Unit) -> Function:
    """A row of the matrix for each output; each row of x by itself."""
    codes = weights(step)
    outputs, taps = codes.shape
    bits, how = step.kernel.filter.bits, manner(step)  # type: ignore[attr-defined]
    unit.use(f"outputs_{bits}_{how}")
    rows = step.output.size // outputs
    values = {"bits": bits, "manner": how, "table": outputs_table(step, codes, unit), "rows": rows}
    return Function(fill(_ONE if rows == 1 else _ROWS, **values, taps=taps, outputs=outputs))
