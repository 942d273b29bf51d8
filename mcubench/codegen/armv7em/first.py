"""Convolutions of 3 x 3 over one channel, which images begin with, alone or with maxima of 2 x 2.

Weights have 16 bits, lifted so that all outputs are shifted alike. A window is five words, of centred codes: the middle
ones of its first two rows, the third middle one beside a constant, and the outer ones of each row, which a load of four
codes leaves beside each other. The constant's weight is the bias, if it fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.assembly import function, listed, number, repeated, unrolled
from mcubench.codegen.armv7em.requantise import Lifted, lifted
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.layers import Integers, Positions, lead, positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__ = ["is_first"]

_WORDS = 5
_TAPS = [(1, 4), (7, 9), (0, 2), (3, 5), (6, 8)]  # of each word: 9 is the constant
_ONE = 4  # the constant, with which a bias is lifted as weights are that are lifted least

_BODY = """
    int32_t row, column;
    ROLLED
    for (row = 0; row < $down; row++)
        ROLLED
        for (column = 0; column < $across; column++, y += $outputs) {
            const int32_t top = $step_down * row - $top, left = $step_across * column - $left;
            if ($inside)
                $sums(x + top * $width + left, $weights, y, $width);
            else {
                edge_of(x, $height, $width, $outside, top, left, (uint32_t *)scratch, $rows);
                $sums((const int8_t *)scratch, $weights, y, 4);
            }
        }
"""
_TWIN = """
    int32_t output;
    for (output = 0; output < $outputs; output++, w += $step) {
        const int32_t sum = window_sum(x, stride, $zero, $one, w + $with_bias, $bias);
        *y++ = $code;
    }
"""
_TWIN_POOLED = """
    int32_t output, part;
    for (output = 0; output < $outputs; output++, w += $step) {
        int32_t largest = 0;
        for (part = 0; part < 4; part++) {
            const int32_t sum = window_sum(x + part / 2 * stride + part % 2, stride, $zero, $one, w, 0);
            largest = part == 0 || sum > largest ? sum : largest;
        }
        *y++ = lifted_code((int32_t)((uint32_t)largest + $bias), w + $behind, -1, $shift);
    }
"""


@dataclass(frozen=True)
class _Plan:
    """How such a convolution is computed.

    Attributes:
        found: Its positions.
        codes: How codes are made.
        words: Of weights, uint32, shape (outputs, 5).
        sums: What sums begin with; ``None`` if the constant's weights are these.
    """

    found: Positions
    codes: Lifted
    words: Integers
    sums: Integers | None

    @property
    def pooled(self) -> bool:
        return self.found.pooled == (2, 2)


def _plan(step: Step) -> _Plan | None:
    codes, found = weights(step), positions(step)
    if (
        codes.shape[1:] != (3, 3, 1)
        or step.x.shape[3] != 1
        or found.step != (1, 1)
        or found.pooled not in ((1, 1), (2, 2))
        or (found.pooled == (2, 2) and found.stride != (1, 1))
        or found.size[1] < 4
        or not all(_near(found, axis) for axis in range(2))
    ):
        return None
    flat = codes.reshape(-1, 9)
    bias = step.kernel.bias  # type: ignore[attr-defined]
    own = np.zeros(len(flat), np.int64) if bias is None else bias.codes.numpy().astype(np.int64)
    # Maxima are compared by differences, which are up to twice as large
    how = lifted(step, 2 * 256 * abs(flat).sum(1) + abs(own))
    if how is None:
        return None
    lifts = how.factors
    constant = own * lifts // _ONE
    inside = bool((abs(constant) < 1 << 15).all())
    full = np.concatenate([flat * lifts[:, None], (constant if inside else 0 * own)[:, None]], 1) & 0xFFFF
    low, high = np.array(_TAPS).T
    return _Plan(found, how, full[:, low] | full[:, high] << 16, None if inside else own * lifts)


def _near(found: Positions, axis: int) -> bool:
    """Whether windows reach at most three codes beyond the input."""
    last = (found.count[axis] * found.pooled[axis] - 1) * found.stride[axis] - found.before[axis] + 3
    return found.before[axis] <= 3 and last <= found.size[axis] + 2


def is_first(step: Step) -> bool:
    """Whether a convolution is one of these."""
    return _plan(step) is not None


@EMITTERS.register("Convolve", when=is_first)
def first(step: Step, unit: Unit) -> Function:
    """All outputs at one position after the other."""
    plan = _plan(step)
    assert plan is not None
    found, zero, outputs = plan.found, step.x.grid.zero_point, step.output.shape[3]
    unit.use("edge", "lifted_code", "window_sum")
    write = _pooled if plan.pooled else _plain
    sums, stream = write(plan, zero, unit)
    height, width = found.size
    rows = 4 if plan.pooled else 3
    # Of a single window's four columns the last is read, but not used: it may be the next row's first code.
    tests = ["top >= 0", f"top <= {height - rows}", "left >= 0", f"left <= {width - rows}"]
    tests += [] if plan.pooled else [f"top * {width} + left <= {(height - 2) * width - 4}"]
    body = fill(
        _BODY,
        down=found.count[0],
        across=found.count[1],
        outputs=outputs,
        step_down=found.stride[0] * found.pooled[0],
        step_across=found.stride[1] * found.pooled[1],
        top=found.before[0],
        left=found.before[1],
        inside=" && ".join(tests),
        sums=sums,
        weights=unit.array("uint32_t", stream, "weights"),
        width=width,
        height=height,
        outside=f"0x{(zero & 0xFF) * 0x01010101:08x}u",
        rows=rows,
    )
    return Function(body, 16, lead(step, found))


_PARAMETERS = "const int8_t *x, const uint32_t *w, int8_t *y, int32_t stride"


def _centre(zero: int) -> list[str]:
    """What is added to codes, in both halves of r8."""
    return number("r8", (-zero & 0xFFFF) * 0x10001)


def _plain(plan: _Plan, zero: int, unit: Unit) -> tuple[str, Integers]:
    outputs, inside = len(plan.words), plan.sums is None
    parts = [plan.words, plan.codes.words]
    if plan.sums is not None:
        parts.insert(0, plan.sums[:, None] & 0xFFFFFFFF)
    stream = np.concatenate(parts, 1)
    taken = unrolled(outputs, 8)
    lines = ["push {r4-r11, lr}", *number("r4", outputs), "add r4, r4, r2", "push {r4, r5}"]
    lines += [
        "ldr r7, [r0]",
        "ldr r9, [r0, r3]",
        "add r0, r0, r3, lsl #1",
        "ldr r10, [r0]",
        "mov r0, r2",
        *_centre(zero),
    ]
    lines += ["sxtab16 r4, r8, r7", "sxtab16 r5, r8, r9", "sxtab16 r6, r8, r10"]
    lines += ["sxtab16 r2, r8, r7, ror #8", "sxtab16 r7, r8, r9, ror #8", "sxtab16 r3, r8, r10, ror #8"]
    lines += ["pkhbt r2, r2, r7, lsl #16", f"movt r3, #{_ONE}", "1:"]
    if inside:
        each = ["ldmia r1!, {r7-r12, lr}", "smuad r7, r7, r2"]
        each += [f"smlad r7, r{8 + index}, r{3 + index}, r7" for index in range(4)]
        each += plan.codes.lines(["r7"], "r12", "lr", ("ldr r8, [r1], #4", "r8"))
    else:
        each = ["ldmia r1!, {r7-r12}"]
        each += [f"smlad r7, r{8 + index}, r{2 + index}, r7" for index in range(5)]
        each += ["ldmia r1!, {r8, r9}", *plan.codes.lines(["r7"], "r8", "r9", ("ldr r8, [r1], #4", "r8"))]
    lines += repeated(taken, [*each, "strb r7, [r0], #1"])
    if taken < outputs:
        lines += ["ldr r7, [sp]", "cmp r0, r7", "bne 1b"]
    lines += ["add sp, sp, #8", "pop {r4-r11, pc}"]
    twin = fill(
        _TWIN,
        outputs=outputs,
        step=stream.shape[1],
        zero=zero,
        one=_ONE,
        with_bias=int(not inside),
        bias="0" if inside else "w[0]",
        code=plan.codes.code_c("sum", f"w + {stream.shape[1] - plan.codes.words.shape[1]}"),
    )
    comment = (
        f"A window of 3 x 3 codes, {outputs} outputs. r0: y, r1: w, r2..r6: codes, r7..: weights, multiplier, constant"
    )
    return function(unit, "first", _PARAMETERS, comment, lines, twin), stream


def _pooled(plan: _Plan, zero: int, unit: Unit) -> tuple[str, Integers]:
    """Four windows lie on the stack; the largest sum is kept negative: what a later one is larger is taken off."""
    outputs, inside = len(plan.words), plan.sums is None
    alike = plan.codes.shift is not None
    # Weights, what is added to the largest sum, the shift, multiplier and constant
    parts = [plan.words, plan.codes.words[:, 2:], plan.codes.words[:, :2]]
    if plan.sums is not None:
        parts.insert(1, plan.sums[:, None] & 0xFFFFFFFF)
    stream = np.concatenate(parts, 1)
    taken = 4 if outputs % 4 == 0 else 2 if outputs % 2 == 0 else 1
    lines = [
        "push {r4-r11, lr}",
        "sub sp, sp, #88",
        "str r2, [sp, #80]",
        *number("r4", outputs),
        "add r2, r2, r4",
        "str r2, [sp, #84]",
    ]
    lines += ["ldr r4, [r0]", "ldr r5, [r0, r3]", "add r0, r0, r3, lsl #1", "ldr r6, [r0]", "ldr r7, [r0, r3]"]
    lines += [*_centre(zero), "mov r0, sp"]
    for index in range(4):  # outer codes in r4..r7 and, of the other two columns of windows, in r9..r12
        lines += [f"sxtab16 r{9 + index}, r8, r{4 + index}, ror #8", f"sxtab16 r{4 + index}, r8, r{4 + index}"]
    lines += number("r8", _ONE << 16)
    for row in range(2):
        lines += [f"pkhbt r2, r{9 + row}, r{10 + row}, lsl #16", f"pkhbt r3, r{11 + row}, r8"]
        lines += [f"stmia r0!, {{r2, r3, r{4 + row}-r{6 + row}}}"]
        lines += [f"pkhtb r2, r{5 + row}, r{4 + row}, asr #16", f"pkhtb r3, r8, r{6 + row}, asr #16"]
        lines += [f"stmia r0!, {{r2, r3, r{9 + row}-r{11 + row}}}"]
    lines += ["ldmia r1!, {r7-r11}", "1:"]
    for index in range(taken):
        # Up and down in turns, which needs no way back. An odd number of outputs always goes down.
        down = (index % 2 == 0 and taken > 1) or taken == 1
        for part in range(4):
            lines += [f"{'ldmdb' if down else 'ldmia'} r0!, {{r2-r6}}"]
            lines += ["smuad lr, r7, r2" if part == 0 else "smlad lr, r7, r2, r12"]
            lines += [f"smlad lr, r{8 + tap}, r{3 + tap}, lr" for tap in range(4)]
            lines += ["rsb r12, lr, #0"] if part == 0 else ["usat lr, #31, lr", "sub r12, r12, lr"]
        if taken == 1:
            lines += ["add r0, r0, #80"]
        # With what makes the code, the weights of the next output are loaded.
        loaded = [*([] if inside else ["r3"]), *([] if alike else ["r4"]), "r5", "r6", "r7", "r8", "r9", "r10", "r11"]
        lines += [f"ldmia r1!, {listed(loaded)}"]
        lines += [] if inside else ["sub r12, r12, r3"]
        lines += ["smmls r12, r12, r5, r6"]
        lines += [f"ssat r12, #8, r12, asr #{plan.codes.shift}"] if alike else ["asr r12, r12, r4", "ssat r12, #8, r12"]
        if index + 1 < taken:
            lines += ["ldr r2, [sp, #80]", f"strb r12, [r2, #{index}]"]
        else:
            lines += [
                "ldrd r2, r3, [sp, #80]",
                f"strb r12, [r2, #{index}]",
                f"add r2, r2, #{taken}",
                "str r2, [sp, #80]",
            ]
    lines += ["cmp r2, r3", "bne 1b", "add sp, sp, #88", "pop {r4-r11, pc}"]
    twin = fill(
        _TWIN_POOLED,
        outputs=outputs,
        step=stream.shape[1],
        zero=zero,
        one=_ONE,
        bias="0u" if inside else f"w[{_WORDS}]",
        behind=stream.shape[1] - 2,
        shift=plan.codes.shift if alike else f"(int32_t)w[{stream.shape[1] - 3}]",
    )
    comment = (
        f"The largest of four windows of 3 x 3 codes, {outputs} outputs. r0: windows, r1: w, r2..r6: codes, r7..r11: "
        "weights, r12: the largest sum so far, negative, lr: a sum"
    )
    # Behind the last output, weights of one more are loaded.
    return function(unit, "first", _PARAMETERS, comment, lines, twin), np.pad(stream.ravel(), (0, _WORDS))
