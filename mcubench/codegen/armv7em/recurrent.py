"""Recurrent layers: all gates of some units in registers, and what they make of the state."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING

import numpy as np

from mcubench.codegen.armv7em import states
from mcubench.codegen.armv7em.assembly import SAVED, add, function, number
from mcubench.codegen.armv7em.gates import Gates, Literals
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.recurrent import codes_of_units, lines_array, manner, over_time, products
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels.recurrent import Gru, Lstm

__all__: list[str] = []

_FIRST = "    uint32_t *const wide = (uint32_t *)(void *)scratch;\n"
_BODY = """
        widened(x, wide, $inputs);
        widened(h, wide + $words, $units);
        $name(wide, $weights, kept, y, $lines$lifted);
"""
_LIFTED = ", 128 * words_total(wide, $words), 128 * words_total(wide + $words, $others)"
_TWIN = """
    const struct $kind how = $how;
    int16_t given[$rows], recalled[$rows];
    int32_t unit, sums[4];
    for (unit = 0; unit < $units; unit += $each) {
$lines
    }
"""
_MOST_SHIFT = 12  # of a cell
_LIFTS = SAVED + 4  # above what is on the stack: what the caller put there, behind the lines


def _parts(step: Step) -> tuple[Gates, Gates]:
    """Gates of one unit of an LSTM, and of two of a GRU, so that they come in pairs."""
    given, recalled = products(step)
    units = 1 + given.gates % 2
    return Gates(given.filled(units), units), Gates(recalled.filled(units), units)


def _fits(step: Step) -> bool:
    """Whether all weights have one width, and no step overflows."""
    given, recalled = _parts(step)
    return given.product.bits == recalled.product.bits and given.fits and recalled.fits


def _lstm_fits(step: Step) -> bool:
    kernel: Lstm = step.kernel  # type: ignore[assignment]
    shows = states.shows(kernel.output_factor, kernel.state.zero_point)
    return shows and kernel.candidate_factor[1] < 0 and kernel.shift <= _MOST_SHIFT and _fits(step)


def _gru_fits(step: Step) -> bool:
    kernel: Gru = step.kernel  # type: ignore[assignment]
    return states.shows(kernel.shown_factor, kernel.state.zero_point) and _fits(step)


@EMITTERS.register("Lstm", when=_lstm_fits)
def lstm(step: Step, unit: Unit) -> Function:
    """A unit at a time: its gates don't leave the registers, but for those of the input."""
    given, recalled = _parts(step)
    literals, (run,) = Literals(), given.runs
    lines = given.lines(run, literals, states.LOOPS, states.RECALLED + _LIFTS)
    lines += [f"strd r2, r4, [sp, #{states.GIVEN}]"]
    lines += recalled.lines(run, literals, states.LOOPS + 4, states.RECALLED + _LIFTS + 4)
    lines += [f"ldrd r6, r7, [sp, #{states.GIVEN}]", "qadd16 r2, r2, r6", "qadd16 r4, r4, r7"]
    lines += states.lstm(step.kernel, literals.put)  # type: ignore[arg-type]
    return _written(step, unit, given, recalled, lines, literals, states.RECALLED)


@EMITTERS.register("Gru", when=_gru_fits)
def gru(step: Step, unit: Unit) -> Function:
    """Two units at a time: codes are read twice, for four gates and for the other two."""
    given, recalled = _parts(step)
    frame, literals, lines = states.RECALLED + 12, Literals(), []
    for index, (part, place) in enumerate(((given, states.GIVEN), (recalled, states.RECALLED))):
        stack = states.LOOPS + 4 * index, frame + _LIFTS + 4 * index
        first, second = part.runs
        lines += [*part.lines(first, literals, *stack), f"strd r2, r4, [sp, #{place}]"]
        lines += [*add("r0", -4 * part.words, "r6"), *part.lines(second, literals, *stack)]
        lines += [f"str r2, [sp, #{place + 8}]"]
    lines += states.gru(step.kernel, literals.put)  # type: ignore[arg-type]
    return _written(step, unit, given, recalled, lines, literals, frame)


def _written(
    step: Step, unit: Unit, given: Gates, recalled: Gates, lines: list[str], literals: Literals, frame: int
) -> Function:
    """A layer whose units are computed by these lines, with flags at their end that say whether that was the last."""
    narrow = given.product.bits < 8
    start = ["push {r4-r11, lr}", f"sub sp, sp, #{frame}", f"strd r0, r2, [sp, #{states.CODES}]"]
    start += [f"str r3, [sp, #{states.Y}]", *number("r4", step.output.shape[-1]), "add r4, r4, r3"]
    start += [f"ldr r5, [sp, #{frame + SAVED}]", f"strd r4, r5, [sp, #{states.END}]"]
    start += given.start_lines("r0", 0, "r4", states.LOOPS)
    start += recalled.start_lines("r0", 4 * given.words, "r4", states.LOOPS + 4)
    start += ["1:", f"ldr r0, [sp, #{states.CODES}]"]
    end = ["bne 1b", f"add sp, sp, #{frame}", "pop {r4-r11, pc}", *literals.lines()]
    parameters = "const uint32_t *x, const uint32_t *w, int16_t *kept, int8_t *y, const uint32_t *lines"
    parameters += ", int32_t lifted, int32_t again" if narrow else ""
    comment = "Some units at a time. r0: codes, r1: weights, r2..r5: sums, then gates, r6..lr: as for dense layers"
    twin = _twin(step, unit, given, recalled)
    name = function(unit, step.kind.lower(), parameters, comment, [*start, *lines, *end], twin)
    unit.use("widened", "pair_run", *(["words_total"] if narrow else []))
    words = {"words": given.words, "others": recalled.words}
    body = fill(
        _BODY,
        name=name,
        inputs=step.x.shape[-1],
        units=step.output.shape[-1],
        words=given.words,
        weights=unit.array("uint32_t", np.concatenate([given.stream(), recalled.stream()], 1), "weights"),
        lines=lines_array(unit),
        lifted=fill(_LIFTED, **words).strip() if narrow else "",
    )
    return over_time(step, unit, body, 4 * (given.words + recalled.words), _FIRST)


def _twin(step: Step, unit: Unit, given: Gates, recalled: Gates) -> str:
    """The same in C."""
    lifts = ("lifted", "again") if given.product.bits < 8 else ("0", "0")
    lines = [given.twin("x", lifts[0], "given"), recalled.twin(f"x + {given.words}", lifts[1], "recalled")]
    lines += [codes_of_units(step, given.units, "how")]
    return fill(
        _TWIN,
        kind=step.kind.lower(),
        how=manner(step, unit, "lines"),
        rows=given.rows,
        units=step.output.shape[-1],
        each=given.units,
        lines=indent("\n".join(lines), 8 * " "),
    )
