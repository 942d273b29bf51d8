"""Pooling over windows."""

from __future__ import annotations

from mcubench.codegen.c99.table import EMITTERS
from mcubench.codegen.layers import lead, positions
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_BODY = """
    int32_t row, column, channel, down, across;
    for (row = 0; row < $rows; row++)
        for (column = 0; column < $columns; column++)
            for (channel = 0; channel < $channels; channel++) {
                const int32_t top = $row_stride * row - $top, left = $column_stride * column - $left;
                int32_t $start;
                for (down = top; down < top + $window_rows; down++)
                    for (across = left; across < left + $window_columns; across++)
                        if (down >= 0 && down < $height && across >= 0 && across < $width) {
                            const int32_t code = x[(down * $width + across) * $channels + channel];
                            $each
                        }
                *y++ = (int8_t)($result);
            }
"""
_MAXIMUM = {"start": "largest = -128", "each": "if (code > largest) largest = code;", "result": "largest"}
# The mean of what lies inside, halves away from 0.
_MEAN = {
    "start": "sum = 0, count = 0",
    "each": "sum += code, count++;",
    "result": "(sum > 0 ? sum + count / 2 : sum - count / 2) / count",
}


@EMITTERS.register("MaxPool")
def max_pool(step: Step, unit: Unit) -> Function:
    """The largest code; what lies outside is not looked at."""
    return _pooled(step, _MAXIMUM)


@EMITTERS.register("AveragePool")
def average_pool(step: Step, unit: Unit) -> Function:
    """The sum of what lies inside by its number."""
    return _pooled(step, _MEAN)


def _pooled(step: Step, rule: dict[str, str]) -> Function:
    found = positions(step)
    body = fill(
        _BODY,
        **rule,
        rows=found.count[0],
        columns=found.count[1],
        channels=step.output.shape[3],
        row_stride=found.stride[0],
        column_stride=found.stride[1],
        top=found.before[0],
        left=found.before[1],
        window_rows=found.window[0],
        window_columns=found.window[1],
        height=found.size[0],
        width=found.size[1],
    )
    return Function(body, lead=lead(step, found, own=True))
