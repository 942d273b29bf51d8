"""Convolutions of each channel by itself: row by row, the lines that a channel needs are copied."""

from __future__ import annotations

import numpy as np

from mcubench.codegen.armv6m.codes import Rule
from mcubench.codegen.armv6m.factors import factors_of
from mcubench.codegen.armv6m.lines import LIFT, LineKernel
from mcubench.codegen.armv6m.order import lead_of
from mcubench.codegen.armv6m.table import EMITTERS
from mcubench.codegen.armv6m.tiles import packed
from mcubench.codegen.layers import Integers, Positions, biases, by_output, positions
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_AT_ONCE = 32  # positions of a row, at most: of more, parts are computed one after the other

_LINES = """
/* Lines of one channel, from one that may lie above the first one, and a column that may lie left of it: words of two
   codes, $apart columns apart. */
APART void $name(const int8_t *x, int32_t top, int32_t left, uint32_t *into)
{
    /* Both codes of the words from begin to end lie in their line. */
    const int32_t begin = left < 0 ? -left : 0;
    const int32_t end = $inside - left < $length ? $inside - left : $length;
    int32_t row, i;
    ROLLED for (row = 0; row < $rows; row++, top += $row_step, into += $length) {
        const int8_t *line;
        i = 0;
        if (top < 0 || top >= $height) {
            ROLLED for (; i < $length; i++)
                into[i] = ${outside}u * 0x00010001u;
            continue;
        }
        line = x + $size * top;
        ROLLED for (; i < begin; i++)
            into[i] = ${outside}u | lifted_at(line, $width, $channels, left + i + $apart, ${outside}u) << 16;
        if (i < end) {
            line_copied(line + $channels * (left + i), into + i, end - i, $behind, $channels);
            i = end;
        }
        ROLLED for (; i < $length; i++)
            into[i] = lifted_at(line, $width, $channels, left + i, ${outside}u) | ${outside}u << 16;
    }
}
"""
_BODY = """
    uint32_t *const lines = (uint32_t *)scratch;
    int32_t row, column, channel;
    ROLLED for (row = 0; row < $down; row++)
        for (column = 0; column < $across; column += $together) {
            const int32_t first = column < $across - $together ? column : $across - $together;
            const uint32_t *w = $weights;
            int8_t *to = y + ($across * row + first) * $outputs;
            ROLLED for (channel = 0; channel < $outputs; channel++, to++, w += $words) {
                $lines(x + channel$multiple, $stride_down * row - $top, $stride_across * first - $left, lines);
                $kernel(lines, w, to, $outputs * $distance, $outputs, to + $outputs * $pairs);
            }
        }
"""


def _written(step: Step) -> bool:
    """Whether nothing is pooled or lies below the code of 0, and rows have some positions."""
    found = positions(step)
    if step.pool is not None or found.count[1] < 2 or found.stride[1] > 31:  # as far as loads reach
        return False
    factors = factors_of(step)
    return factors is not None and factors.rectified


@EMITTERS.register("DepthwiseConvolve", when=_written)
def depthwise(step: Step, unit: Unit) -> Function:
    """Rows outside and channels inside, so that the output may lie over the rows that nobody reads any more."""
    found, factors = positions(step), factors_of(step)
    assert factors is not None
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    channels, outputs = step.x.shape[3], step.output.shape[3]
    down, across = found.count
    together = -(-across // -(-across // _AT_ONCE))
    pairs = -(-together // 4) * 2  # of positions, a whole number of twos
    distance = together - pairs
    length = (pairs - 1) * found.stride[1] + (found.window[1] - 1) * found.step[1] + 1
    kernel = LineKernel(bits, *found.window, length, found.step[1], found.stride[1], Rule.of(factors, 1))
    codes = by_output(step)
    fields = (codes & ((1 << bits) - 1)) - (1 << (bits - 1))
    stored = np.concatenate([packed(fields, bits), _biases(step, codes), factors.words], 1)
    unit.use("lifted_at", "line_copied", "line_codes")
    multiple = outputs // channels
    body = fill(
        _BODY,
        down=down,
        across=across,
        together=together,
        outputs=outputs,
        weights=unit.array("uint32_t", stored, "weights"),
        words=stored.shape[1],
        lines=_lines(step, unit, found, length, distance * found.stride[1]),
        multiple=f" / {multiple}" if multiple > 1 else "",
        stride_down=found.stride[0],
        stride_across=found.stride[1],
        top=found.before[0],
        left=found.before[1],
        kernel=unit.function(kernel.text, "line"),
        distance=distance,
        pairs=pairs,
    )
    starts = [
        across * row + min(column, across - together) for row in range(down) for column in range(0, across, together)
    ]
    lead = lead_of(step, found, starts, together, own=True)
    return Function(body, 4 * length * found.window[0], lead)


def _lines(step: Step, unit: Unit, found: Positions, length: int, apart: int) -> str:
    """The name of the function that copies lines."""
    channels = step.x.shape[3]
    text = fill(
        _LINES,
        name="$name",
        height=found.size[0],
        width=found.size[1],
        channels=channels,
        size=found.size[1] * channels,
        rows=found.window[0],
        row_step=found.step[0],
        length=length,
        apart=apart,
        inside=found.size[1] - apart,
        behind=apart * channels,
        outside=step.x.grid.zero_point + LIFT,
    )
    return unit.function(text, "lines")


def _biases(step: Step, codes: Integers) -> Integers:
    """Two words an output: what is added to sums in lower and in upper halves."""
    bias = biases(step, codes.sum(1)) - LIFT * codes.sum(1)
    negative = (codes < 0).sum(1)  # each of them takes one from the upper half, and so adds one to the lower half's
    found: Integers = np.column_stack([bias - (negative << 16), bias + negative]) & 0xFFFFFFFF
    return found
