"""Convolutions: all outputs at four positions, then at the next four."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mcubench.codegen.armv6m.codes import Rule
from mcubench.codegen.armv6m.factors import Factors, factors_of
from mcubench.codegen.armv6m.order import lead_of
from mcubench.codegen.armv6m.pairs import PairKernel
from mcubench.codegen.armv6m.table import EMITTERS
from mcubench.codegen.armv6m.tiles import TileKernel, packed
from mcubench.codegen.layers import Integers, Positions, biases, positions, rescaling, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_AT_ONCE = 160  # taps: of more, parts are summed one after the other, for which less memory is needed

_FRAME = """
static const struct frame $name = {
    $height, $width, $channels, $rows, $columns, $row_step, $column_step, $down, $right, $outside
};
"""
_PAIR = """
/* Codes of two windows. */
APART uint32_t $name(const int8_t *x, const int32_t *places, uint32_t *into)
{
    const int32_t top = places[0] + $down, left = places[1] + $right;
    const int32_t top_2 = places[2] + $down, left_2 = places[3] + $right;
$across    return $kernel(
        x + (top * $width + left) * $channels, x + (top_2 * $width + left_2) * $channels, into, $rows);
}
"""
_SPREAD = """
/* Codes of two windows. */
APART uint32_t $name(const int8_t *x, const int32_t *places, uint32_t *into)
{
    return pair_across(&$frame, x, places, into);
}
"""
_ACROSS = """
    if (top < 0 || left < 0 || top > $bottom || left > $end || top_2 < 0 || left_2 < 0 || top_2 > $bottom
        || left_2 > $end)
        return pair_across(&$frame, x, places, into);
"""
_BODY = """
    uint32_t *const tile = (uint32_t *)scratch;
$sums    int32_t row = 0, column = 0, done;
    for (done = 0; done < $total; done += $together) {
        int32_t places[$places];
        uint32_t first, second;
$last$parts    }
"""
_SUMS = "    int32_t *const sums = scratch + $words;\n"
_LAST = """
        if (done > $total - $together)
            done = $total - $together, row = $row, column = $column;
"""
_PLACE = "        places[$index] = $top, places[$index + 1] = $left;\n"
_NEXT = """
        if (++column == $across)
            column = 0, row++;
"""
_FIRST = "        first = $pair(x, places, tile);\n"
_SECOND = "        second = $pair(x, places$behind, tile + 1);\n"
_PART = """
        tile[$words] = 0u - $lift * (first & 0xFFFFu), tile[$words + 1] = 0u - $lift * (first >> 16);
        tile[$words + 2] = 0u - $lift * (second & 0xFFFFu), tile[$words + 3] = 0u - $lift * (second >> 16);
        $kernel(tile, $weights, $into, $outputs$taps);
"""
_RULE = """
static const struct rule $name = {
    $factors, $count, $pooled, $split, $shift, $zero_point, $low, $high
};
"""
_EXACT = """
static const struct exact $name = {
    $biases, $multipliers, $exponents, $count, $pooled, $zero_point, $low, $high
};
"""
_CODES = "        $codes(&$rule, sums, y + $outputs * done);\n"


@dataclass(frozen=True)
class Part:
    """Taps that are summed at once.

    Attributes:
        rows: Of the window.
        columns: Likewise.
    """

    rows: slice
    columns: slice


def _written(step: Step) -> bool:
    """Whether sums are of one group, as many positions make one output as fit, and there are enough of them."""
    found = positions(step)
    area = found.pooled[0] * found.pooled[1]
    grouped = weights(step).shape[3] != step.x.shape[3]
    if grouped or area not in (1, 2, 4) or found.count[0] * found.count[1] * area < 4:
        return False
    return max(_taps(part) for part in _parts(step)) * step.x.shape[3] <= 257


@EMITTERS.register("Convolve", when=_written)
def convolution(step: Step, unit: Unit) -> Function:
    """Codes of four windows side by side, then sums of one output after the other."""
    found, factors, parts = positions(step), factors_of(step), _parts(step)
    channels, outputs = step.x.shape[3], step.output.shape[3]
    area = found.pooled[0] * found.pooled[1]
    rule = Rule.of(factors, area) if factors is not None and factors.rectified else None
    stores = rule is None or len(parts) > 1
    codes = "codes_of" if factors is not None else "exact_codes"
    unit.use("tile_sums", "code_of" if rule else codes)
    words = 2 * channels * max(map(_taps, parts))
    total, together = found.count[0] * found.count[1], 4 // area
    statements = _statements(step, unit, parts, rule, factors)
    if rule is None:
        table = _exact(step, unit, area) if factors is None else _rule(step, unit, factors, area)
        statements += fill(_CODES, codes=codes, rule=table, outputs=outputs)
    across = found.count[1]
    left_over = {"row": (total - together) // across, "column": (total - together) % across}
    body = fill(
        _BODY,
        sums=fill(_SUMS, words=words + 4) if stores else "",
        total=total,
        together=together,
        last=fill(_LAST, total=total, together=together, **left_over) if total % together else "",
        places=4 if len(parts) == 1 else 8,
        parts=statements,
    )
    starts = [min(at, total - together) for at in range(0, total, together)]
    lead = lead_of(step, found, starts, together, own=False)
    return Function(body, 4 * (words + 4) + (16 * outputs if stores else 0), lead)


def _parts(step: Step) -> tuple[Part, ...]:
    """Rows of the window that are summed at once; of a single row, columns."""
    found, channels = positions(step), step.x.shape[3]
    rows, columns = found.window
    count = -(-rows * columns * channels // _AT_ONCE)
    length = rows if rows > 1 else columns
    ends = [-(-length * index // count) for index in range(count + 1)]
    if count > length or len(set(ends)) != len(ends):
        ends = list(range(length + 1))
    slices = [slice(*each) for each in pairwise(ends)]
    return tuple(Part(each, slice(0, columns)) if rows > 1 else Part(slice(0, 1), each) for each in slices)


def _taps(part: Part) -> int:
    """Positions of the input that a part reads."""
    return int((part.rows.stop - part.rows.start) * (part.columns.stop - part.columns.start))


def _statements(step: Step, unit: Unit, parts: Sequence[Part], rule: Rule | None, factors: Factors | None) -> str:
    """Statements that read four windows and sum their taps; places are made once, or, if one will do, for each pair."""
    found = positions(step)
    places = _places(found, found.pooled[0] * found.pooled[1], shared=len(parts) == 1)
    statements = "" if len(parts) == 1 else "".join(places)
    for part in parts:
        pair = _pair(step, unit, part)
        both = [fill(_FIRST, pair=pair), fill(_SECOND, pair=pair, behind="" if len(parts) == 1 else " + 4")]
        if len(parts) == 1:
            both = [before + text for before, text in zip(places, both, strict=True)]
        statements += "".join(both) + _part(step, unit, part, rule if part is parts[-1] else None, factors)
    return statements


def _part(step: Step, unit: Unit, part: Part, rule: Rule | None, factors: Factors | None) -> str:
    """Statements that sum a part of the taps."""
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    codes = weights(step)[:, part.rows, part.columns].reshape(step.output.shape[3], -1)
    taps = codes.shape[1]
    begun = part.rows.start + part.columns.start > 0
    kernel = TileKernel.of(taps, bits, begun, rule)
    stored = packed(codes, bits)
    if rule is not None and factors is not None:
        stored = np.concatenate([stored, _with_biases(step, factors)], 1)
    return fill(
        _PART,
        words=2 * taps,
        lift=f"{1 << (bits - 1)}u",
        kernel=unit.function(kernel.text, "tile"),
        weights=unit.array("uint32_t", stored, "weights"),
        into="sums" if rule is None else f"y + {step.output.shape[3]} * done",
        outputs=step.output.shape[3],
        taps=(f", {taps}" if kernel.block else "") + (", sums" if begun and rule else ""),
    )


def _with_biases(step: Step, factors: Factors) -> Integers:
    """Three words an output: what is added to the sum of lifted codes, and its factors."""
    found: Integers = np.column_stack([_lifted_biases(step), factors.words.astype(np.int64)])
    return found


def _lifted_biases(step: Step) -> Integers:
    """What is added to sums of lifted codes, modulo 2^32."""
    codes = weights(step)
    sums = codes.reshape(len(codes), -1).sum(1)
    found: Integers = (biases(step, sums) - 128 * sums) & 0xFFFFFFFF
    return found


def _exact(step: Step, unit: Unit, area: int) -> str:
    scaling = rescaling(step)
    return unit.constant(
        fill(
            _EXACT,
            name="$name",
            biases=unit.array("uint32_t", _lifted_biases(step), "biases"),
            multipliers=unit.array("int32_t", scaling.multipliers, "multipliers"),
            exponents=unit.array("int8_t", scaling.exponents, "exponents"),
            count=step.output.shape[3],
            pooled=area,
            zero_point=scaling.zero_point,
            low=scaling.low,
            high=scaling.high,
        ),
        "exact",
    )


def _rule(step: Step, unit: Unit, factors: Factors, area: int) -> str:
    scaling = factors.rescaling
    return unit.constant(
        fill(
            _RULE,
            name="$name",
            factors=unit.array("uint32_t", _with_biases(step, factors), "factors"),
            count=step.output.shape[3],
            pooled=area,
            split=factors.split,
            shift=factors.shift,
            zero_point=scaling.zero_point,
            low=scaling.low,
            high=scaling.high,
        ),
        "rule",
    )


def _pair(step: Step, unit: Unit, part: Part) -> str:
    """The name of the function that reads two windows."""
    found, channels = positions(step), step.x.shape[3]
    width = found.size[1]
    rows, columns = part.rows.stop - part.rows.start, part.columns.stop - part.columns.start
    values = {
        "down": part.rows.start * found.step[0],
        "right": part.columns.start * found.step[1],
        "height": found.size[0],
        "width": width,
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "row_step": found.step[0],
        "column_step": found.step[1],
        "outside": step.x.grid.zero_point,
    }
    spread = found.step[1] > 1 and columns > 1  # no rows of codes that follow each other
    frame = ""
    if spread or not found.inside:
        unit.use("pair_across")
        frame = unit.constant(fill(_FRAME, name="$name", **values), "frame")
    if spread:
        return unit.function(fill(_SPREAD, name="$name", frame=frame), "window")
    across = ""
    if not found.inside:
        bottom, end = (
            length - (taps - 1) * distance - 1
            for length, taps, distance in zip(found.size, (rows, columns), found.step, strict=True)
        )
        across = fill(_ACROSS, frame=frame, bottom=bottom, end=end)
    kernel = PairKernel.of(rows, columns * channels, found.step[0] * width * channels)
    text = fill(_PAIR, name="$name", kernel=unit.function(kernel.text, "pair"), across=across, **values)
    return unit.function(text, "window")


def _places(found: Positions, area: int, shared: bool) -> tuple[str, str]:
    """Statements that say where the first two windows lie, and the other two; `shared`: in the same variables."""
    steps = [found.pooled[axis] * found.stride[axis] for axis in range(2)]
    texts = ["", ""]
    for number in range(4):
        inner = divmod(number % area, found.pooled[1])  # of the positions of which the largest sum counts
        top, left = (inner[axis] * found.stride[axis] - found.before[axis] for axis in range(2))
        index = 2 * (number % 2 if shared else number)
        texts[number // 2] += fill(
            _PLACE, index=index, top=f"{steps[0]} * row + {top}", left=f"{steps[1]} * column + {left}"
        )
        if (number + 1) % area == 0:
            texts[number // 2] += fill(_NEXT, across=found.count[1])
    return texts[0], texts[1]
