"""Recurrent layers: all gates of a unit in registers, and what they make of its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mcubench.codegen.armv7em.assembly import SAVED, function, number
from mcubench.codegen.armv7em.gates import Gates, Literals
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.program import Step
from mcubench.codegen.recurrent import lines_array, lstm_numbers, over_time, products
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels.recurrent import Lstm

__all__: list[str] = []

_FIRST = """
    uint32_t *const wide = (uint32_t *)(void *)scratch;
"""
_BODY = """
        widened(x, wide, $inputs);
        widened(h, wide + $words, $units);
        $name(wide, $weights, kept, y, $lines$lifted);
"""
_LIFTED = ", 128 * words_total(wide, $words), 128 * words_total(wide + $words, $others)"
_TWIN = """
    const struct lstm how = $numbers;
    int16_t given[4], recalled[4];
    int32_t unit, sums[4];
    for (unit = 0; unit < $units; unit++) {
$given$recalled        y[unit] = lstm_code(&how, given, recalled, kept + unit);
    }
"""
# On the stack: codes, state, y and its end, lines, ends of loops, gates of the input
_CODES, _KEPT, _Y, _END, _LINES, _LOOPS, _GIVEN, _FRAME = 0, 4, 8, 12, 16, 20, 28, 36
_LIFTS = _FRAME + SAVED + 4  # what the caller puts there, behind the lines
_MOST_SHIFT = 12  # of the cell


def _parts(step: Step, units: int) -> tuple[Gates, Gates]:
    given, recalled = products(step)
    return Gates(given.filled(units), units), Gates(recalled.filled(units), units)


def _fits(step: Step) -> bool:
    """Whether no step overflows, and all factors are below 1."""
    kernel: Lstm = step.kernel  # type: ignore[assignment]
    given, recalled = _parts(step, 1)
    inner, (_, outer) = kernel.candidate_factor[1], kernel.output_factor
    most = abs(kernel.state.zero_point) << -outer if outer < 0 else 0
    shown = outer < 0 and most + (1 << (-outer - 1)) < 1 << 30 and kernel.shift <= _MOST_SHIFT
    return inner < 0 and shown and given.fits and recalled.fits and given.product.bits == recalled.product.bits


@EMITTERS.register("Lstm", when=_fits)
def lstm(step: Step, unit: Unit) -> Function:
    """A unit at a time."""
    given, recalled = _parts(step, 1)
    units, inputs, bits = step.output.shape[-1], step.x.shape[-1], given.product.bits
    unit.use("widened", "pair_run", *(["words_total"] if bits < 8 else []))
    values = {"words": given.words, "others": recalled.words}
    body = fill(
        _BODY,
        **values,
        inputs=inputs,
        units=units,
        name=_function(step, unit, given, recalled),
        weights=unit.array("uint32_t", np.concatenate([given.stream(), recalled.stream()], 1), "weights"),
        lines=lines_array(unit),
        lifted=fill(_LIFTED, **values).strip() if bits < 8 else "",
    )
    return over_time(step, unit, body, 4 * (given.words + recalled.words), _FIRST)


def _function(step: Step, unit: Unit, given: Gates, recalled: Gates) -> str:
    units, narrow, literals = step.output.shape[-1], given.product.bits < 8, Literals()
    lines = ["push {r4-r11, lr}", f"sub sp, sp, #{_FRAME}", "strd r0, r2, [sp]", f"str r3, [sp, #{_Y}]"]
    lines += [*number("r4", units), "add r4, r4, r3", f"ldr r5, [sp, #{_FRAME + SAVED}]", f"strd r4, r5, [sp, #{_END}]"]
    lines += given.start_lines("r0", "r4", _LOOPS)
    lines += [*number("r4", 4 * given.words), "add r0, r0, r4"] if recalled.end else []
    lines += recalled.start_lines("r0", "r4", _LOOPS + 4)
    lines += ["1:", f"ldr r0, [sp, #{_CODES}]"]
    (run,) = given.runs
    lines += given.lines(run, literals, _LOOPS, _LIFTS)
    lines += [f"strd r2, r4, [sp, #{_GIVEN}]", *recalled.lines(run, literals, _LOOPS + 4, _LIFTS + 4)]
    lines += [f"ldrd r6, r7, [sp, #{_GIVEN}]", "qadd16 r2, r2, r6", "qadd16 r4, r4, r7"]
    lines += _cell(step.kernel, literals)  # type: ignore[arg-type]
    lines += [f"add sp, sp, #{_FRAME}", "pop {r4-r11, pc}", *literals.lines()]
    twin = fill(
        _TWIN,
        units=units,
        numbers=lstm_numbers(step, unit, "lines"),
        given=given.twin("x", "lifted" if narrow else "0", "given"),
        recalled=recalled.twin(f"x + {given.words}", "again" if narrow else "0", "recalled"),
    )
    parameters = "const uint32_t *x, const uint32_t *w, int16_t *kept, int8_t *y, const uint32_t *lines"
    parameters += ", int32_t lifted, int32_t again" if narrow else ""
    comment = (
        f"{units} units of an LSTM, one at a time. r0: codes, r1: weights, r2..r5: sums; then r2, r4: gates, "
        "r5: 3 and 6, r6: a place on a line, r7, r8: roundings, r12: lines, r10, r11, lr: spare"
    )
    return function(unit, "lstm", parameters, comment, lines, twin)


def _on_line(to: str, gate: str, half: str, tanh: bool) -> list[str]:
    """A sigmoid of half of a register, or a hyperbolic tangent: of 3 or 6 times that, and then `_looked_up`."""
    return [f"smul{half}{'t' if tanh else 'b'} r10, {gate}, r5", *_looked_up(to, tanh)]


def _looked_up(to: str, tanh: bool) -> list[str]:
    """Of an argument in r10, with 9 bits between the steps of the table: one product of both halves is the line.

    The upper half of r6 is 512, for where the line starts; the lower one is how far along it is.
    """
    place = f"ssat {to}, #9, r10, asr #9" if tanh else f"asr {to}, r10, #9"
    lines = [place, f"ldr {to}, [r12, {to}, lsl #2]", "bfi r6, r10, #0, #9"]
    lines += [f"add r10, {'r8' if tanh else 'r7'}, r10, asr #31", f"smlad {to}, {to}, r6, r10"]
    return [*lines, f"asr {to}, {to}, #{9 if tanh else 10}"]


def _share(to: str, by: str, down: int) -> list[str]:
    """A product with a gate, to / 2^down, rounded twice: by halves of 2, and then of the rest away from 0."""
    lines = [f"asr r10, {by}, #31", "orr r10, r10, #1", f"smlabb {to}, {to}, {by}, r10"]
    return [*lines, f"add {to}, {to}, #{1 << (down - 1)}", f"ssat {to}, #16, {to}, asr #{down}"]


def _cell(kernel: Lstm, literals: Literals) -> list[str]:
    """The new cell and the code of the hidden state, of gates in the halves of r2 and r4."""
    constants = literals.put([6 << 16 | 3, 512 << 16, (1 << 24) + 512, 256])
    lines = [f"adr r5, {constants}", "ldm r5, {r5, r6, r7, r8}", f"ldr r12, [sp, #{_LINES}]"]
    lines += [*_on_line("r3", "r2", "b", False), *_on_line("r9", "r2", "t", False)]
    lines += [*_on_line("r11", "r4", "b", True), *_on_line("r4", "r4", "t", False)]
    lines += [f"ldrd r2, lr, [sp, #{_KEPT}]", "ldrsh r7, [r2]"]
    lines += [*_share("r9", "r7", 15), *_share("r3", "r11", 1 - kernel.candidate_factor[1])]
    lines += ["add r3, r3, r9", "ssat r3, #16, r3"]
    if kernel.limit:
        lines += [*number("r9", kernel.limit), "cmp r3, r9", "it gt", "movgt r3, r9"]
        lines += ["rsb r9, r9, #0", "cmp r3, r9", "it lt", "movlt r3, r9"]
    lines += ["strh r3, [r2], #2", *_scaled(kernel.shift), *_looked_up("r3", True)]
    multiplier, exponent = kernel.output_factor
    rounding = (1 << (-exponent - 1)) + (kernel.state.zero_point << -exponent)
    lines += ["smulbb r3, r3, r4", f"ldrd r6, r7, {literals.put([multiplier, rounding])}", "lsl r3, r3, #1"]
    lines += ["add r7, r7, r3, asr #31", "smmlar r3, r3, r6, r7", f"ssat r3, #8, r3, asr #{-exponent}"]
    lines += ["strb r3, [lr], #1", f"strd r2, lr, [sp, #{_KEPT}]", f"ldr r6, [sp, #{_END}]", "cmp lr, r6", "bne 1b"]
    return lines


def _scaled(shift: int) -> list[str]:
    """6 times the cell in r3, shifted, in r10."""
    if shift >= 0:
        return ["smulbt r10, r3, r5", *([f"lsl r10, r10, #{shift}"] if shift else [])]
    lines = ["smulbb r10, r3, r5", f"add r10, r10, #{1 << (-shift - 1)}"]
    return [*lines, f"asr r10, r10, #{-shift}", "lsl r10, r10, #1"]
