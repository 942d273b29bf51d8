"""Transformers of single features."""

from __future__ import annotations

from typing import Any

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.classical.common import centred, pointers, rounded, source
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill, float32
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_SCALE = """
    int32_t i;
    for (i = 0; i < $size; i++) {
        const int64_t sum = (int64_t)$factors[i] * from[i] + (int64_t)$summands[i] * $lifted + $half;
        const int64_t code = sum >> $shift;
        to[i] = ($type)(code < $low ? $low : code > $high ? $high : code);
    }
"""
_SCALE_FLOAT = """
    int32_t i;
    for (i = 0; i < $size; i++) {
        const float value = (from[i] - $shifts[i]) * $factors[i];
        to[i] = $result;
    }
"""
_UNIT_LENGTH = """
    $sum_type sum = 0;
    float length, factor;
    int32_t i;
    for (i = 0; i < $size; i++)
        sum += $square;
    length = root_of((float)sum);
    factor = $one / (length > 0.0f ? length : 1.0f);
    for (i = 0; i < $size; i++)
        to[i] = $result;
"""
_SELECT = """
    int32_t i;
    for (i = 0; i < $size; i++)
        to[i] = from[$chosen[i]];
"""


@EMITTERS.register("Scale")
def scale(step: Step, unit: Unit) -> Function:
    """In fixed point, rounded once."""
    kernel: Any = step.kernel
    body = fill(
        _SCALE,
        size=step.output.size,
        factors=unit.array("int32_t", kernel.factors, "factors"),
        summands=unit.array("int32_t", kernel.summands, "summands"),
        lifted=f"{1 << kernel.lift}LL",
        half=f"{1 << kernel.shift >> 1}LL",
        shift=kernel.shift,
        type=step.output.ctype,
        low=kernel.low,
        high=kernel.high,
    )
    return Function(pointers(step) + "\n" + body, lead=0)


@EMITTERS.register("ScaleFloat")
def scale_float(step: Step, unit: Unit) -> Function:
    """A difference and a product, between bounds."""
    kernel: Any = step.kernel
    unit.use("floats")
    result = "value"
    if kernel.bounds is not None:
        low, high = map(float32, kernel.bounds)
        result = f"value < {low} ? {low} : value > {high} ? {high} : value"
    arrays = {name: unit.array("float", getattr(kernel, name), name) for name in ("shifts", "factors")}
    return Function(pointers(step) + "\n" + fill(_SCALE_FLOAT, size=step.output.size, result=result, **arrays), lead=0)


@EMITTERS.register("UnitLength")
def unit_length(step: Step, unit: Unit) -> Function:
    """A root and a quotient, by which all elements are multiplied."""
    unit.use("nearest", "root_of")
    x, target = source(step), step.output.grid
    is_float, wide = x.real, x.grid.bits == 16
    value = centred(step, "from[i]")
    scaled = "from[i] * factor" if is_float else f"(float){value} * factor + {target.zero_point}.0f"
    body = fill(
        _UNIT_LENGTH,
        sum_type="float" if is_float else "int64_t",
        square=f"{'(int64_t)' if wide else ''}{value} * {value}",
        one="1.0f" if is_float else float32(1 / target.scale),
        size=step.output.size,
        result=rounded(step, scaled),
    )
    return Function(pointers(step) + "\n" + body, lead=0)


@EMITTERS.register("Select")
def select(step: Step, unit: Unit) -> Function:
    """A copy of what is chosen, in order."""
    kernel: Any = step.kernel
    ctype = "uint8_t" if source(step).size <= 256 else "uint16_t"
    chosen = unit.array(ctype, kernel.chosen, "chosen")
    return Function(pointers(step) + "\n" + fill(_SELECT, size=step.output.size, chosen=chosen), lead=0)
