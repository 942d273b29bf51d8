"""Outputs of one channel along a row, four at a time, from lines of codes that were copied for them.

A word of a line holds two codes, some columns apart, each lifted to 1 to 256; a product with a signed weight is then
two products, of which the upper one is too small by one where the weight is negative. One sum is of the upper halves,
and another of whole words: modulo 2^32, what remains is the sum of the lower halves.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.codegen.armv6m.assembly import Assembly, function
from mcubench.codegen.armv6m.codes import Rule, one_code
from mcubench.codegen.armv6m.pairs import amounts
from mcubench.codegen.text import fill

__all__ = ["LIFT", "LineKernel"]

LIFT = 129  # of codes
_REACH = 31  # words that loads reach from one pointer
_COMMENT = """
/* Codes of one channel in a row, at y and `distance` behind it, then `step` further, until `end`.
   r0 lines, r1 weights, r2 a weight, r3 as it is packed, r4 and r5 codes and products, r8 and r10 sums of words, r9 and
   r11 of their upper halves; on the stack: lines, weights, y, distance */
"""
_TWIN = """
    for (; y != end; y += 2 * step, lines += $both) {
        int32_t pair;
        for (pair = 0; pair < 2; pair++)
            line_codes(lines + $stride * pair, w, $rows, $columns, $length, $spread, $bits, y + step * pair, distance,
                $split, $shift, $zero_point, $steps);
    }
"""


@dataclass(frozen=True)
class LineKernel:
    """A function for a row of one channel.

    Attributes:
        bits: Of a weight.
        rows: Lines.
        columns: Taps of a line.
        length: Words of a line.
        spread: Words from tap to tap.
        stride: Words from output to output.
        rule: How sums become codes.
    """

    bits: int
    rows: int
    columns: int
    length: int
    spread: int
    stride: int
    rule: Rule

    @property
    def text(self) -> str:
        """Its definition."""
        signature = (
            "void $name(const uint32_t *lines, const uint32_t *w, int8_t *y, int32_t distance, int32_t step,\n"
            "    const int8_t *end)"
        )
        values = {**vars(self), **vars(self.rule), "both": 2 * self.stride}
        return function(signature, _COMMENT.strip(), self._assembly(), fill(_TWIN, **values))

    def _assembly(self) -> Assembly:
        into = Assembly()
        loop, end = into.label(), into.label()
        into.do("push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}")
        into.do("push {r0-r3}")
        into.place(loop)
        into.do("ldr r0, [sp]", "ldr r1, [sp, #4]")
        self._taps(into)
        self._codes(into)
        into.do("ldr r2, [sp]", f"adds r2, #{8 * self.stride}", "str r2, [sp]")
        into.do("ldr r2, [sp, #56]", "cmp r0, r2", into.to("beq", end), into.to("b", loop))
        into.place(end)
        into.do("add sp, #16", "pop {r4-r7}")
        into.do("mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}")
        return into

    def _taps(self, into: Assembly) -> None:
        at, passed = 0, 0  # words before r0, bytes before r1
        for tap in range(self.rows * self.columns):
            place = tap // self.columns * self.length + tap % self.columns * self.spread
            if place + self.stride - at > _REACH:
                for step in amounts(4 * (place - at)):
                    into.do(f"adds r0, #{step}")
                at = place
            byte = tap * self.bits // 8
            if byte - passed > 31:
                into.do("adds r1, #32")
                passed += 32
            self._weight(into, tap, byte - passed)
            how = "mov" if tap == 0 else "add"
            first = 4 * (place - at)
            into.do(f"ldr r4, [r0, #{first}]", f"ldr r5, [r0, #{first + 4 * self.stride}]")
            for register, whole, upper in (("r4", "r8", "r9"), ("r5", "r10", "r11")):
                into.do(
                    f"muls {register}, r2, {register}",
                    f"{how} {whole}, {register}",
                    f"asrs {register}, {register}, #16",
                    f"{how} {upper}, {register}",
                )
        words = -(-self.rows * self.columns * self.bits // 32)
        into.do(f"adds r1, #{4 * words - passed}")

    def _weight(self, into: Assembly, tap: int, at: int) -> None:
        """A signed weight in r2."""
        if self.bits == 8:
            into.do(f"ldrb r2, [r1, #{at}]", "sxtb r2, r2")
            return
        each = 8 // self.bits
        if tap % each == 0:
            into.do(f"ldrb r3, [r1, #{at}]")
        into.do(f"lsls r2, r3, #{32 - self.bits * (tap % each + 1)}", f"asrs r2, r2, #{32 - self.bits}")

    def _codes(self, into: Assembly) -> None:
        into.do("mov r4, r8", "mov r5, r9", "lsls r2, r5, #16", "subs r4, r4, r2")
        into.do("mov r6, r10", "mov r7, r11", "lsls r2, r7, #16", "subs r6, r6, r2")
        into.do("ldmia r1!, {r0, r2}", why="biases of lower and of upper halves")
        into.do("adds r4, r4, r0", "adds r6, r6, r0", "adds r5, r5, r2", "adds r7, r7, r2")
        into.do("ldmia r1!, {r2, r3}", "lsrs r1, r2, #16", "uxth r2, r2", why="high and low, start")
        for register in ("r4", "r5", "r6", "r7"):
            into.do(f"cmp {register}, #0")
            one_code(into, self.rule, register, "r0", ("r1", "r2", "r3"))
        into.do("ldr r0, [sp, #8]", "ldr r2, [sp, #12]", "ldr r3, [sp, #52]", "strb r4, [r0]", "strb r5, [r0, r2]")
        into.do("adds r0, r0, r3", "strb r6, [r0]", "strb r7, [r0, r2]", "adds r0, r0, r3", "str r0, [sp, #8]")
