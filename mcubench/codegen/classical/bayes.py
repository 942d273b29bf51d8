"""Naive Bayes with normal distributions."""

from __future__ import annotations

from typing import Any

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.classical.common import pointers, rounded, source, squares
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_SCORES = """
    const $type *mean = $means;
    const $type *factor = $factors;
    int32_t i, o;
    for (o = 0; o < $classes; o++, mean += $features, factor += $features) {
        $sum_type sum = 0;
        for (i = 0; i < $features; i++) {
            const $difference_type difference = $difference;
            sum += $square * factor[i];
        }
        to[o] = $score;
    }
"""


@EMITTERS.register("GaussianScores")
def scores(step: Step, unit: Unit) -> Function:
    """Squares of differences by their factors; in integers all sums have 64 bits."""
    kernel: Any = step.kernel
    unit.use("nearest")
    x, sums = source(step), squares(step)
    bias = unit.array("float", kernel.bias, "bias")
    scaled = "" if x.real else f"(float)sum * {unit.array('float', kernel.scales, 'scales')}[o] + {bias}[o]"
    classes, features = kernel.means.shape
    body = fill(
        _SCORES,
        type=x.ctype,
        means=unit.array(x.ctype, kernel.means, "means"),
        factors=unit.array(x.ctype, kernel.factors, "factors"),
        classes=classes,
        features=features,
        sum_type="float" if x.real else "int64_t",
        difference_type=sums.difference_type,
        difference="from[i] - mean[i]",
        square=sums.square,
        score=f"sum + {bias}[o]" if x.real else rounded(step, scaled),
    )
    return Function(pointers(step) + "\n" + body)
