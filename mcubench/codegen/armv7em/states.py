"""What gates of 16 bits make of the state of a unit, in assembly.

r5 to r8 and r12 are the same all the time: 3 and 6 in halves, a place on a line, what rounds sigmoids and tangents, and
the middle of the table of lines. r10 is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcubench.codegen.armv7em.assembly import number

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcubench.quant.integer.kernels.recurrent import Gru, Lstm

    Put = Callable[[Sequence[int]], str]  # words behind the function: what refers to them

__all__ = ["CODES", "END", "GIVEN", "KEPT", "LINES", "LOOPS", "RECALLED", "Y", "gru", "lstm", "shows"]

# On the stack: codes, state, y and its end, lines, ends of two loops, gates of the input and of the hidden state
CODES, KEPT, Y, END, LINES, LOOPS, GIVEN, RECALLED = 0, 4, 8, 12, 16, 20, 28, 40


def shows(factor: tuple[int, int], zero_point: int) -> bool:
    """Whether what is shown is a code by one product, with a constant that has the rounding and the zero point."""
    down = -factor[1]
    return down > 0 and (1 << (down - 1)) + (abs(zero_point) << down) < 1 << 30


def lstm(kernel: Lstm, put: Put) -> list[str]:
    """Of gates in the halves of r2 and r4; flags say whether that was the last unit."""
    lines = [*_constants(put), *_on_line("r3", "r2", "b", False), *_on_line("r9", "r2", "t", False)]
    lines += [*_on_line("r11", "r4", "b", True), *_on_line("r4", "r4", "t", False)]
    lines += [f"ldrd r2, lr, [sp, #{KEPT}]", "ldrsh r7, [r2]"]
    lines += [*_share("r9", "r9", "r7", 15), *_share("r3", "r3", "r11", 1 - kernel.candidate_factor[1])]
    lines += ["add r3, r3, r9", "ssat r3, #16, r3"]
    if kernel.limit:
        lines += [*number("r9", kernel.limit), "cmp r3, r9", "it gt", "movgt r3, r9"]
        lines += ["rsb r9, r9, #0", "cmp r3, r9", "it lt", "movlt r3, r9"]
    lines += ["strh r3, [r2], #2", *_shifted_cell(kernel.shift), *_looked_up("r3", True), "smulbb r3, r3, r4"]
    lines += _shown("r3", ("r6", "r7"), kernel.output_factor, kernel.state.zero_point, put)
    return [*lines, "strb r3, [lr], #1", f"strd r2, lr, [sp, #{KEPT}]", f"ldr r6, [sp, #{END}]", "cmp lr, r6"]


def gru(kernel: Gru, put: Put) -> list[str]:
    """Of two units, or of the last, with gates on the stack; flags say whether that was the last unit."""
    behind = RECALLED - GIVEN - 6
    lines = [*_constants(put), f"add r0, sp, #{GIVEN}", "3:", "ldr r2, [r0], #6", f"ldr r3, [r0, #{behind}]"]
    lines += ["ldrsh r4, [r0, #-2]", f"ldrsh r9, [r0, #{behind + 4}]", "qadd16 r2, r2, r3"]
    lines += [*_on_line("r3", "r2", "b", False), *_share("r3", "r3", "r9", 15), "add r3, r3, r4", "ssat r3, #16, r3"]
    lines += [*_on_line("r3", "r3", "b", True), *_on_line("r2", "r2", "t", False)]
    lines += [f"ldrd r4, r9, [sp, #{KEPT}]", "ldrsh r11, [r4]"]
    lines += [*_share("r11", "r2", "r11", 15), *_share("r2", "r2", "r3", 15)]
    lines += ["sub r3, r3, r2", "add r2, r11, r3", "ssat r2, #16, r2", "strh r2, [r4], #2"]
    lines += _shown("r2", ("r10", "r11"), kernel.shown_factor, kernel.state.zero_point, put)
    lines += ["strb r2, [r9], #1", f"strd r4, r9, [sp, #{KEPT}]", f"ldr r10, [sp, #{END}]", "cmp r9, r10", "beq 4f"]
    return [*lines, "tst r4, #2", "bne 3b", "4:", "cmp r9, r10"]


def _constants(put: Put) -> list[str]:
    words = put([6 << 16 | 3, 512 << 16, (1 << 24) + 512, 256])
    return [f"adr r5, {words}", "ldm r5, {r5, r6, r7, r8}", f"ldr r12, [sp, #{LINES}]"]


def _on_line(to: str, gate: str, half: str, tanh: bool) -> list[str]:
    """A sigmoid of half of a register, or a hyperbolic tangent, which is twice a sigmoid of twice that, less 1."""
    return [f"smul{half}{'t' if tanh else 'b'} r10, {gate}, r5", *_looked_up(to, tanh)]


def _looked_up(to: str, tanh: bool) -> list[str]:
    """Of an argument in r10, with 9 bits between the steps of the table: one product of both halves is the line.

    The upper half of r6 is 512, for where the line starts; the lower one is how far along it is.
    """
    place = f"ssat {to}, #9, r10, asr #9" if tanh else f"asr {to}, r10, #9"
    lines = [place, f"ldr {to}, [r12, {to}, lsl #2]", "bfi r6, r10, #0, #9"]
    lines += [f"add r10, {'r8' if tanh else 'r7'}, r10, asr #31", f"smlad {to}, {to}, r6, r10"]
    return [*lines, f"asr {to}, {to}, #{9 if tanh else 10}"]


def _share(to: str, gate: str, of: str, down: int) -> list[str]:
    """A product with a gate divided by 2^down, rounded twice: by halves of 2, and then of the rest away from 0."""
    lines = [f"asr r10, {of}, #31", "orr r10, r10, #1", f"smlabb {to}, {gate}, {of}, r10"]
    return [*lines, f"add {to}, {to}, #{1 << (down - 1)}", f"ssat {to}, #16, {to}, asr #{down}"]


def _shifted_cell(shift: int) -> list[str]:
    """6 times the cell in r3, times a power of 2, in r10."""
    if shift >= 0:
        return ["smulbt r10, r3, r5", *([f"lsl r10, r10, #{shift}"] if shift else [])]
    lines = ["smulbb r10, r3, r5", f"add r10, r10, #{1 << (-shift - 1)}"]
    return [*lines, f"asr r10, r10, #{-shift}", "lsl r10, r10, #1"]


def _shown(value: str, spare: tuple[str, str], factor: tuple[int, int], zero_point: int, put: Put) -> list[str]:
    """The code of a value, in its place."""
    multiplier, exponent = factor
    first, second = spare
    words = put([multiplier, (1 << (-exponent - 1)) + (zero_point << -exponent)])
    lines = [f"ldrd {first}, {second}, {words}", f"lsl {value}, {value}, #1"]
    lines += [f"add {second}, {second}, {value}, asr #31", f"smmlar {value}, {value}, {first}, {second}"]
    return [*lines, f"ssat {value}, #8, {value}, asr #{-exponent}"]
