"""The nearest of stored samples."""

from __future__ import annotations

from typing import Any

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.classical.common import pointers, source, squares
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_RUN = 16  # features after which a sample that is too far already is left

_NEAREST = """
    $sum_type nearest_sums[$k];
    int32_t labels[$k], known = 0, sample, i, place;
    const $type *stored = $samples;
    for (sample = 0; sample < $count; sample++, stored += $features) {
        $sum_type sum = 0;
        for (i = 0; i < $features;) {
            const int32_t end = i + $run < $features ? i + $run : $features;
            for (; i < end; i++) {
                const $difference_type difference = from[i] - stored[i];
                sum += $square;
            }
            if (known == $k && sum >= nearest_sums[$k - 1])
                break; /* it can only get farther */
        }
        if (known == $k && sum >= nearest_sums[$k - 1])
            continue;
        place = known < $k ? known++ : $k - 1;
        for (; place > 0 && sum < nearest_sums[place - 1]; place--) {
            nearest_sums[place] = nearest_sums[place - 1];
            labels[place] = labels[place - 1];
        }
        nearest_sums[place] = sum;
        labels[place] = $labels[sample];
    }
    for (i = 0; i < $classes; i++)
        to[i] = 0;
    for (place = 0; place < $k; place++)
$vote
"""
_ALIKE = """
        to[labels[place]]++;
"""
_WEIGHTED = """
        if (nearest_sums[0] == 0)
            to[labels[place]] += nearest_sums[place] == 0 ? 1.0f : 0.0f;
        else
            to[labels[place]] += 1.0f / root_of((float)nearest_sums[place]);
"""


@EMITTERS.register("Neighbours")
def neighbours(step: Step, unit: Unit) -> Function:
    """Those so far are kept in order; of equal distances the first sample counts."""
    kernel: Any = step.kernel
    unit.use("floats", *(["root_of"] if kernel.weighted else []))
    ctype, sums = source(step).ctype, squares(step)
    count, features = kernel.samples.shape
    body = fill(
        _NEAREST,
        type=ctype,
        sum_type=sums.sum_type,
        difference_type=sums.difference_type,
        square=sums.square,
        k=kernel.k,
        samples=unit.array(ctype, kernel.samples, "samples"),
        labels=unit.array("uint8_t" if kernel.labels.max() < 256 else "uint16_t", kernel.labels, "labels"),
        count=count,
        features=features,
        run=_RUN,
        classes=step.output.size,
        vote=(_WEIGHTED if kernel.weighted else _ALIKE).strip("\n"),
    )
    return Function(pointers(step) + "\n" + body)
