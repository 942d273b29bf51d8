"""Kernels that move codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.loops import Walk, contiguous, nest
from mcubench.codegen.operands import pointers
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer import kernels

__all__: list[str] = []

_COPY = "{0} = {1}"
_GATHERED = """
    int32_t row, place, i;
    for (row = 0; row < $rows; row++, x += $length * $size)
        for (place = 0; place < $count; place++)
            for (i = 0; i < $size; i++)
                *y++ = x[$places[place] * $size + i];
"""


@EMITTERS.register("Reshape")
def reshape(step: Step, unit: Unit) -> Function:
    """A copy, where the bytes can't stay where they are."""
    return Function(nest((step.output.size,), [Walk("y", (1,)), Walk("x", (1,))], _COPY), lead=0)


@EMITTERS.register("Transpose")
def transpose(step: Step, unit: Unit) -> Function:
    """Output axis i is input axis axes[i]."""
    kernel: kernels.Transpose = step.kernel  # type: ignore[assignment]
    steps = contiguous(step.x.shape)
    walks = [Walk("y", contiguous(step.output.shape)), Walk("x", tuple(steps[axis] for axis in kernel.axes))]
    return Function(nest(step.output.shape, walks, _COPY))


@EMITTERS.register("StridedSlice")
def strided_slice(step: Step, unit: Unit) -> Function:
    """Every step-th along one axis; what is written never overtakes what is read."""
    kernel: kernels.StridedSlice = step.kernel  # type: ignore[assignment]
    shape, steps = list(step.x.shape), list(contiguous(step.x.shape))
    start = kernel.start * steps[kernel.axis]
    shape[kernel.axis] = len(range(kernel.start, kernel.stop, kernel.step))
    steps[kernel.axis] *= kernel.step
    walks = [Walk("y", contiguous(shape)), Walk("x", tuple(steps), start)]
    return Function(nest(shape, walks, _COPY), lead=0)


@EMITTERS.register("Gather")
def gather(step: Step, unit: Unit) -> Function:
    """Of each of some places along an axis all that lies there."""
    kernel: kernels.Gather = step.kernel  # type: ignore[assignment]
    shape, axis = step.x.shape, kernel.axis
    values = {
        "rows": math.prod(shape[:axis]),
        "count": len(kernel.places),
        "length": shape[axis],
        "size": math.prod(shape[axis + 1 :]),
        "places": unit.array("uint16_t", np.array(kernel.places), "places"),
    }
    return Function(fill(_GATHERED, **values))


@EMITTERS.register("Concatenate")
def concatenate(step: Step, unit: Unit) -> Function:
    """One part after the other."""
    kernel: kernels.Concatenate = step.kernel  # type: ignore[assignment]
    steps, at, parts = contiguous(step.output.shape), 0, []
    for pointer, operand in zip(pointers(step, unit), step.inputs, strict=True):
        walks = [Walk("y", steps, at * steps[kernel.axis]), Walk(pointer, contiguous(operand.shape))]
        parts.append(_block(nest(operand.shape, walks, _COPY)))
        at += operand.shape[kernel.axis]
    return Function("".join(parts))


@EMITTERS.register("Pad")
def pad(step: Step, unit: Unit) -> Function:
    """The codes around, and those in the middle."""
    kernel: kernels.Pad = step.kernel  # type: ignore[assignment]
    steps = contiguous(step.output.shape)
    around = step.output.grid.zero_point if kernel.code is None else kernel.code
    start = sum(before * each for (before, _), each in zip(kernel.padding, steps, strict=True))
    filled = nest((step.output.size,), [Walk("y", (1,))], f"{{0}} = {around}")
    walks = [Walk("y", steps, start), Walk("x", contiguous(step.x.shape))]
    return Function(_block(filled) + _block(nest(step.x.shape, walks, _COPY)))


def _block(body: str) -> str:
    """Statements with names of their own."""
    lines: Sequence[str] = body.splitlines()
    return "\n".join(["    {", *(f"    {line}" for line in lines), "    }"]) + "\n"
