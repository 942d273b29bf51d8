"""Convolutions: windows of two or three positions are gathered, and all outputs summed over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.dense import is_dense
from mcubench.codegen.armv7em.first import is_first
from mcubench.codegen.armv7em.narrow import totals
from mcubench.codegen.armv7em.pairs import Pairs, in_order, pair_words
from mcubench.codegen.armv7em.requantise import PairCodes, pair_codes
from mcubench.codegen.armv7em.sums import kept_codes
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.armv7em.windows import Window
from mcubench.codegen.c99.convolution import window_table
from mcubench.codegen.layers import Integers, Positions, biases, bounds_of, positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_ROW = """
    uint32_t *const windows = (uint32_t *)scratch;
    int32_t row, column;
    ROLLED
    for (row = 0; row < $down; row++)
        ROLLED
        for (column = 0; column < $across; column++, y += $outputs) {
$body
        }
"""
_THREES = """
    uint32_t *const windows = (uint32_t *)scratch;
    int32_t first;
    ROLLED
    for (first = 0; first < $count; first += 3) {
        const int32_t second = first + 1 < $count ? first + 1 : $last, third = first + 2 < $count ? first + 2 : $last;
$body
        $sums(windows, $weights, y + $outputs * first,
            (uint32_t)($outputs * (second - first)) | (uint32_t)($outputs * (third - first)) << 16);
    }
"""
_GATHER = "$gather($pointers, windows);"
_EITHER = """
if ($inside)
    $gather($pointers, windows);
else
    $gather_copies($copies, windows);
"""


@dataclass(frozen=True)
class _Plan:
    """How a convolution is computed."""

    found: Positions
    window: Window
    codes: PairCodes
    order: Integers


def _plan(step: Step) -> _Plan | None:
    codes, found = weights(step), positions(step)
    outputs, rows, columns, taken = codes.shape
    parts = int(np.prod(found.pooled))
    if (
        taken != step.x.shape[3]
        or (found.step[1] != 1 and columns > 1)
        or outputs < 2
        or outputs * 2 >= 1 << 16
        or (step.pool is not None and found.pooled[1] % 2)
        or parts > 8
    ):
        return None
    window = Window(rows, columns * taken)
    strides = (found.size[1] * taken * found.step[0], window.run)  # of the input's rows, and of a copy's
    if not all(map(window.reaches, strides)):
        return None
    flat = codes.reshape(outputs, -1)
    order = in_order(outputs, 1 if parts <= 2 else 0)
    spare = 8 - step.kernel.filter.bits  # type: ignore[attr-defined]
    how = pair_codes(step, bounds_of(flat, biases(step, flat.sum(1))), order, spare=spare)
    return None if how is None else _Plan(found, window, how, order)


@EMITTERS.register("Convolve", when=lambda step: not is_dense(step) and not is_first(step) and _plan(step) is not None)
def convolution(step: Step, unit: Unit) -> Function:
    """Two outputs at three positions, or at two whose largest is taken."""
    plan = _plan(step)
    assert plan is not None
    found, window, order = plan.found, plan.window, plan.order
    codes = weights(step).reshape(-1, window.rows * window.run)
    sums = biases(step, codes.sum(1))
    outputs, parts = len(codes), int(np.prod(found.pooled))
    pooled, alone = step.pool is not None, step.pool is None or parts == 2
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    pairs = Pairs(window.words, outputs, pooled, plan.codes if alone else None, bits)
    words = pair_words(window.arranged(codes)[order], sums[order], plan.codes.words if alone else None, bits)
    places = _Places(step, found, window, unit)
    values: dict[str, object] = {
        "down": found.count[0],
        "across": found.count[1],
        "outputs": outputs,
        "weights": unit.array("uint32_t", words, "weights"),
        "sums": pairs.function(unit),
    }
    copies = 0 if found.inside else -(-window.rows * window.run // 4) * pairs.positions
    size = 4 * (places.words(pairs.positions) + copies)
    if not pooled:
        count = found.count[0] * found.count[1]
        body = places.gathered([_linear(found, each) for each in ("first", "second", "third")], 3)
        text = fill(_THREES, **values, body=body, count=count, last=count - 1)
        return Function(text, size, _lead(step, found, 3))
    here = [
        (
            f"{found.pooled[0]} * row + {part // found.pooled[1]}",
            f"{found.pooled[1]} * column + {part % found.pooled[1]}",
        )
        for part in range(parts)
    ]
    body = ""
    slots = 0 if alone else 2 * pairs.pairs
    if not alone:
        body += f"        for (i = 0; i < {slots}; i++)\n            largest[i] = INT32_MIN;\n"
    for part in range(0, parts, 2):
        body += places.gathered(here[part : part + 2], 2)
        target = "y" if alone else "largest"
        body += fill("        $sums(windows, $weights, $target);", **values, target=target)
    if not alone:
        body += "        " + kept_codes(unit, plan.codes, outputs, difference=False) + "\n"
    text = fill(_ROW, **values, body=body.rstrip("\n"))
    if not alone:
        at = size // 4
        text = f"    int32_t *const largest = scratch + {at};\n    int32_t i;\n" + text
    return Function(text, size + 4 * slots, _lead(step, found, 1))


def _linear(found: Positions, index: str) -> tuple[str, str]:
    """Row and column of a position, by its number."""
    if found.count[0] == 1:
        return "0", index
    return f"{index} / {found.count[1]}", f"{index} % {found.count[1]}"


def _lead(step: Step, found: Positions, together: int) -> int:
    """How many bytes before its input an output begins that may lie over it, if positions are made in such groups."""
    down, across = found.count
    channels, outputs = step.x.shape[3], step.output.shape[3]
    starts = [
        (found.first(0, row) * found.size[1] + found.first(1, column)) * channels
        for row in range(down)
        for column in range(across)
    ]
    needed: list[int] = np.minimum.accumulate(np.array(starts)[::-1])[::-1].tolist()  # by this position, or a later one
    later = range(together, len(starts), together)
    farthest = max([0, *(outputs * first - needed[first] for first in later)])
    return int(farthest)


class _Places:
    """What gathers windows: from the input, or from copies where a window reaches beyond it."""

    def __init__(self, step: Step, found: Positions, window: Window, unit: Unit) -> None:
        self.step, self.found, self.window, self.unit = step, found, window, unit
        self.channels = step.x.shape[3]
        self.row = found.size[1] * self.channels * found.step[0]
        self.totals = bool(step.kernel.filter.bits < 8)  # type: ignore[attr-defined]

    def words(self, count: int) -> int:
        """Words that windows take of so many positions."""
        return (self.window.words + self.totals) * count

    def gathered(self, places: list[tuple[str, str]], count: int) -> str:
        """Statements that gather windows at rows and columns of outputs."""
        values: dict[str, object] = {"gather": self.window.gather(self.unit, count, self.row)}
        values["pointers"] = ", ".join(self._pointer(*each) for each in places)
        total = f"{totals(self.unit, self.window.words, count)}(windows);\n" if self.totals else ""
        if self.found.inside:
            return _indented(fill(_GATHER, **values) + total)
        self.unit.use("patch")
        table = window_table(self.step, self.found, self.channels, self.unit)
        taps = self.window.rows * self.window.run
        each = -(-taps // 4) * 4
        start = 4 * self.words(count)
        copies = [
            f"patch_of(&{table}, x, {self._top(row)}, {self._left(column)}, (int8_t *)scratch + {start + each * index})"
            for index, (row, column) in enumerate(places)
        ]
        ends = [places[0], places[-1]] if self.found.count[0] == 1 or self.found.pooled != (1, 1) else places
        values["inside"] = " && ".join(self._inside(ends))
        values["copies"] = ", ".join(copies)
        values["gather_copies"] = self.window.gather(self.unit, count, self.window.run)
        return _indented(fill(_EITHER, **values) + total)

    def _top(self, row: str) -> str:
        return f"{self.found.stride[0]} * ({row}) - {self.found.before[0]}"

    def _left(self, column: str) -> str:
        return f"{self.found.stride[1]} * ({column}) - {self.found.before[1]}"

    def _pointer(self, row: str, column: str) -> str:
        width = self.found.size[1]
        whole = self.found.count[1] * self.found.stride[1] == width and self.found.stride[0] == 1
        if row.endswith(f"/ {self.found.count[1]}") and whole and self.found.before == (0, 0):
            # Every position of the input is one: they need not be told by row and column.
            return f"x + {self.channels * self.found.stride[1]} * {row.split(' ', maxsplit=1)[0]}"
        return f"x + (({self._top(row)}) * {width} + {self._left(column)}) * {self.channels}"

    def _inside(self, places: list[tuple[str, str]]) -> list[str]:
        """What has to hold for windows at these rows and columns to lie inside."""
        found = []
        for axis, start in ((0, self._top), (1, self._left)):
            reach = (self.found.window[axis] - 1) * self.found.step[axis] + 1
            ends = dict.fromkeys(start(place[axis]) for place in places)
            if self.found.inside_along(axis):
                continue
            for end in ends:
                found += [f"{end} >= 0", f"{end} <= {self.found.size[axis] - reach}"]
        return found


def _indented(text: str) -> str:
    return "".join(f"        {line}\n" for line in text.splitlines())
