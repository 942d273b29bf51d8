"""Softmax, and its logarithm, in fixed point."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import LogSoftmax, Softmax

__all__: list[str] = []

_SHARES = """
    int32_t row;
    for (row = 0; row < $rows; row++)
        softmax_of(x + $length * row, y + $length * row, $length, $powers, $count, $zero_point);
"""
_LOGARITHMS = """
    int32_t row;
    for (row = 0; row < $rows; row++)
        log_softmax_of(x + $length * row, y + $length * row, $length, $terms, $arguments, $count);
"""


@EMITTERS.register("Softmax")
def softmax(step: Step, unit: Unit) -> Function:
    """Powers come from a table, by the difference to the largest code."""
    kernel: Softmax = step.kernel  # type: ignore[assignment]
    powers = kernel.powers(step.x.grid).numpy()
    unit.use("softmax")
    table = unit.array("int32_t", powers, "powers")
    return _by_row(step, _SHARES, powers=table, count=len(powers), zero_point=step.output.grid.zero_point)


@EMITTERS.register("LogSoftmax")
def log_softmax(step: Step, unit: Unit) -> Function:
    """What is added to the sum, and what its logarithm is taken from, come from tables."""
    kernel: LogSoftmax = step.kernel  # type: ignore[assignment]
    terms, arguments = (each(step.x.grid).numpy() for each in (kernel.terms, kernel.arguments))
    unit.use("log_softmax")
    tables = {
        "terms": unit.array("int32_t", terms, "terms"),
        "arguments": unit.array("int32_t", arguments, "arguments"),
    }
    return _by_row(step, _LOGARITHMS, count=len(terms), **tables)


def _by_row(step: Step, body: str, **values: int | str) -> Function:
    length = step.output.shape[-1]
    return Function(fill(body, rows=step.output.size // length, length=length, **values), lead=0)
