"""Dense layers in int16 and float32, and functions of single elements."""

from __future__ import annotations

from typing import Any

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.classical.common import centred, coded, pointers, source
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill, float32
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_DENSE = """
    const $weight_type *w = $weights;
    int32_t i, o;
    for (o = 0; o < $outputs; o++, w += $inputs) {
        $sum_type sum = $start;
        for (i = 0; i < $inputs; i++)
            sum += $product;
$written
    }
"""
_WIDE = """
        const int32_t code = nearest((float)sum * $factors[o] + $zero_point.0f, $low.0f, $high.0f);
        to[o] = (int16_t)$code;
"""
_REAL = """
        sum += $bias[o];
        to[o] = $value;
"""
_FUNCTION = """
    int32_t i;
    for (i = 0; i < $size; i++) {
        const float value = $value;
        to[i] = $result;
    }
"""
_FUNCTIONS = {"tanh": "tanh_of(value)", "sigmoid": "sigmoid_of(value)", "relu": "(value > 0.0f ? value : 0.0f)"}


@EMITTERS.register("DenseWide")
def wide(step: Step, unit: Unit) -> Function:
    """Sums in 64 bits, begun with the bias and what the input's zero point makes."""
    kernel: Any = step.kernel
    unit.use("nearest")
    zero_point, (low, high) = step.output.grid.zero_point, step.output.grid.ends
    start = kernel.bias - step.x.grid.zero_point * kernel.weight.sum(1)
    written = fill(
        _WIDE,
        factors=unit.array("float", kernel.factors, "factors"),
        zero_point=zero_point,
        low=low,
        high=high,
        code=f"(code < {zero_point} ? {zero_point} : code)" if kernel.rectified else "code",
    )
    return _dense(step, unit, "int16_t", "int64_t", f"{unit.array('int64_t', start, 'sums')}[o]", written)


@EMITTERS.register("DenseFloat")
def real(step: Step, unit: Unit) -> Function:
    """Product by product, as the sums are on the PC."""
    kernel: Any = step.kernel
    unit.use("floats")
    bias = unit.array("float", kernel.bias, "bias")
    written = fill(_REAL, bias=bias, value="sum > 0.0f ? sum : 0.0f" if kernel.rectified else "sum")
    return _dense(step, unit, "float", "float", "0.0f", written)


def _dense(step: Step, unit: Unit, weight_type: str, sum_type: str, start: str, written: str) -> Function:
    kernel: Any = step.kernel
    outputs, inputs = kernel.weight.shape
    body = fill(
        _DENSE,
        weight_type=weight_type,
        weights=unit.array(weight_type, kernel.weight, "weights"),
        outputs=outputs,
        inputs=inputs,
        sum_type=sum_type,
        start=start,
        product="w[i] * from[i]" if weight_type == "float" else "(int32_t)w[i] * from[i]",
        written=written.rstrip("\n"),
    )
    return Function(pointers(step) + "\n" + body)


@EMITTERS.register("Function")
def function(step: Step, unit: Unit) -> Function:
    """In float32; codes are values before and become codes behind."""
    kernel: Any = step.kernel
    unit.use("nearest", *([f"{kernel.name}_of"] if kernel.name != "relu" else []))
    x, value = source(step), "from[i]"
    if not x.real:
        value = f"(float){centred(step, value)} * {float32(x.grid.scale)}"  # whole numbers: exact
    body = fill(_FUNCTION, size=step.output.size, value=value, result=coded(step, _FUNCTIONS[kernel.name]))
    return Function(pointers(step) + "\n" + body, lead=0)
