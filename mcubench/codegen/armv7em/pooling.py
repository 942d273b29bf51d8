"""Means over all positions."""

from __future__ import annotations

from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.layers import positions
from mcubench.codegen.program import Step
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_MOST = 256  # codes that a half has room to sum


def _is_whole(step: Step) -> bool:
    found = positions(step)
    area = found.size[0] * found.size[1]
    return (
        found.window == found.size
        and found.count == (1, 1)
        and found.before == (0, 0)
        and area <= _MOST
        and step.x.shape[3] % 4 == 0
    )


@EMITTERS.register("AveragePool", when=_is_whole)
def mean(step: Step, unit: Unit) -> Function:
    """Four channels at a time."""
    unit.use("column_means")
    height, width = positions(step).size
    channels = step.x.shape[3]
    # What is written lies on the first position, whose channels up to there have been read.
    return Function(f"    column_means(x, y, {channels}, {height * width});\n", lead=0 if height * width == 1 else None)
