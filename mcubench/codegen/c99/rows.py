"""Rows brought to a length."""

from __future__ import annotations

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_BODY = """
    int32_t row;
    for (row = 0; row < $rows; row++)
        unit_row(x + $length * row, y + $length * row, $length, $zero_point);
"""


@EMITTERS.register("L2Normalize")
def unit_rows(step: Step, unit: Unit) -> Function:
    """One after the other."""
    unit.use("unit_row")
    length = step.output.shape[-1]
    values = {"rows": step.output.size // length, "length": length, "zero_point": step.x.grid.zero_point}
    return Function(fill(_BODY, **values), lead=0)
