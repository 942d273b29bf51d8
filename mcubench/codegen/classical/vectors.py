"""Kernel machines."""

from __future__ import annotations

from typing import Any

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.classical.common import centred, coded, pointers, rounded, source, squares
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill, float32
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_VALUES = """
    const $type *vector = $vectors;
    int32_t i, v;
    for (v = 0; v < $count; v++, vector += $features) {
        $sum_type sum = 0;
        for (i = 0; i < $features; i++) {
$term
        }
        {
            const float scaled = (float)sum * $factor$summand;
$power            to[v] = $result;
        }
    }
"""
_SQUARE = """
            const $difference_type difference = from[i] - vector[i];
            sum += $square;
"""
_PRODUCT = """
            sum += $product;
"""
_POWER = """
            float power = 1.0f;
            for (i = 0; i < $degree; i++)
                power *= scaled;
"""
_DECISIONS = """
    static const int32_t ends[$classes + 1] = { $ends };
    int32_t pair = 0, i, j, v;
    for (i = 0; i < $classes; i++)
        for (j = i + 1; j < $classes; j++, pair++) {
            const $type *const first = $coefficients + $count * (j - 1), *const second = $coefficients + $count * i;
            $sum_type sum = 0;
            for (v = ends[i]; v < ends[i + 1]; v++)
                sum += $first;
            for (v = ends[j]; v < ends[j + 1]; v++)
                sum += $second;
            to[pair] = $result;
        }
"""
_VOTES = """
    int32_t pair = 0, i, j;
    for (i = 0; i < $classes; i++)
        to[i] = 0;
    for (i = 0; i < $classes; i++)
        for (j = i + 1; j < $classes; j++, pair++)
            to[from[pair] > $zero ? i : j]++;
"""


@EMITTERS.register("VectorKernel")
def values(step: Step, unit: Unit) -> Function:
    """A sum for each vector, and the function of it in float32."""
    kernel: Any = step.kernel
    ctype, sums = source(step).ctype, squares(step)
    count, features = kernel.vectors.shape
    if kernel.kind == "rbf":
        term = fill(_SQUARE, difference_type=sums.difference_type, square=sums.square)
    else:
        both = [centred(step, f"{each}[i]") for each in ("from", "vector")]
        term = fill(_PRODUCT, product=sums.widened + " * ".join(both))
    function = {"rbf": "exponential(scaled)", "sigmoid": "tanh_of(scaled)", "linear": "scaled", "poly": "power"}[
        kernel.kind
    ]
    unit.use("nearest", *{"rbf": ["exponential"], "sigmoid": ["tanh_of"]}.get(kernel.kind, []))
    body = fill(
        _VALUES,
        type=ctype,
        vectors=unit.array(ctype, kernel.vectors, "vectors"),
        count=count,
        features=features,
        sum_type=sums.sum_type,
        term=term.rstrip("\n"),
        factor=float32(kernel.factor),
        summand=f" + {float32(kernel.summand)}" if kernel.kind in ("poly", "sigmoid") else "",
        power=fill(_POWER, degree=kernel.degree) if kernel.kind == "poly" else "",
        result=coded(step, function),
    )
    return Function(pointers(step) + "\n" + body)


@EMITTERS.register("PairDecisions")
def decisions(step: Step, unit: Unit) -> Function:
    """For each pair the vectors of both classes."""
    kernel: Any = step.kernel
    unit.use("nearest")
    x = source(step)
    ctype, is_float = x.ctype, x.real
    bias = unit.array("float" if is_float else "int64_t", kernel.bias, "bias")
    steps = f"sum + {bias}[pair]"
    if not is_float:
        steps = f"(float)({steps}) * {float32(kernel.factor)} + {step.output.grid.zero_point}.0f"
    value = centred(step, "from[v]")
    widened = "(int64_t)" if ctype == "int16_t" else ""
    body = fill(
        _DECISIONS,
        type=ctype,
        classes=len(kernel.ends) - 1,
        ends=", ".join(map(str, kernel.ends.tolist())),
        coefficients=unit.array(ctype, kernel.coefficients, "coefficients"),
        count=kernel.coefficients.shape[1],
        sum_type="float" if is_float else "int64_t" if ctype == "int16_t" else "int32_t",
        first=f"{widened}{value} * first[v]",
        second=f"{widened}{value} * second[v]",
        result=rounded(step, steps),
    )
    return Function(pointers(step) + "\n" + body)


@EMITTERS.register("PairVotes")
def votes(step: Step, _unit: Unit) -> Function:
    """A vote a pair."""
    kernel: Any = step.kernel
    x = source(step)
    zero = "0.0f" if x.real else str(x.grid.zero_point)
    return Function(pointers(step) + "\n" + fill(_VOTES, classes=kernel.classes, zero=zero))
