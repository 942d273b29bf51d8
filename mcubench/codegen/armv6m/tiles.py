"""Sums of one output at four positions at a time, which share each weight that is loaded.

Codes of two positions lie in the halves of a word, lifted to 0 to 255; so do the weights, at 8 bits. A product with a
weight is then two products, neither of which reaches into the other. With 8 bits, one sum is of the upper halves, and
another of whole words: modulo 2^32, their difference is the sum of the lower halves. With fewer bits, 16 products fit
into a half before the halves are parted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.armv6m.assembly import Assembly, function
from mcubench.codegen.armv6m.codes import END, Rule, Y, codes, decoded, more, stored
from mcubench.codegen.layers import Integers, side_by_side
from mcubench.codegen.text import fill

__all__ = ["TileKernel", "packed"]

_PARTED = 16  # products of less than 8 bits that are summed in halves of words: 16 * 255 * 15 < 65536
_STRAIGHT = 32  # taps that are written out one after the other; of more, blocks are repeated
_BLOCKS = (24, 20, 16, 12)
_COMMENT = """
/* Sums at four positions, output by output: a word of `tile` holds the codes of two positions at a tap, and behind the
   taps are four numbers to be added.
   r0 tile, r1 weights, r2 a weight$narrow, r4-r7 codes and products, $sums;
   on the stack: tile, y, distance of positions in y, end of y$looped */"""
_SUMS = {
    True: "r8 and r10 sums of words, r9 and r11 of their upper halves",
    False: "r8 and r9 sums of words, r10-r12 and lr of their halves",
}
_TWIN = """
    int32_t channel;
    for (channel = 0; channel < count; channel++) {
        uint32_t sums[4];
        tile_sums(tile, w, $taps, $bits, sums);
        w += ($taps + $each - 1) / $each;
$finish
    }
"""


@dataclass(frozen=True)
class TileKernel:
    """A function for all outputs at four positions.

    Attributes:
        bits: Of a weight.
        block: Taps that are repeated as often as its caller says; 0 for none.
        rest: Taps behind them.
        begun: Whether other taps have been summed before.
        rule: How sums become codes; ``None`` if they are stored.
    """

    bits: int
    block: int
    rest: int
    begun: bool
    rule: Rule | None

    @classmethod
    def of(cls, taps: int, bits: int, begun: bool, rule: Rule | None) -> TileKernel:
        """The one for so many taps."""
        if taps <= _STRAIGHT:
            return cls(bits, 0, taps, begun, rule)
        blocks = _BLOCKS if bits == 8 else (_PARTED,)
        block = min(blocks, key=lambda size: (taps % size, -size))
        return cls(bits, block, taps % block, begun, rule)

    @property
    def text(self) -> str:
        """Its definition."""
        looped = ", int32_t taps" if self.block else ""
        y = "int32_t *y" if self.rule is None else "int8_t *y"
        sums = ", const int32_t *begun" if self.begun and self.rule else ""
        signature = f"void $name(const uint32_t *tile, const uint32_t *w, {y}, int32_t count{looped}{sums})"
        comment = fill(
            _COMMENT,
            narrow="" if self.bits == 8 else " as it is packed, r3 alone",
            sums=_SUMS[self.bits == 8],
            looped=", end of the blocks" if self.block else "",
        ).strip()
        taps = "taps" if self.block else str(self.rest)
        finish = _STORED if self.rule is None else self.rule.twin
        if self.begun:
            finish = fill(_BEGUN, begun="y" if self.rule is None else "begun") + finish.strip("\n")
            if self.rule is not None:
                finish += "\n        begun += 4;"
        twin = fill(_TWIN, taps=taps, bits=self.bits, each=32 // self.bits, finish=finish.strip("\n"))
        return function(signature, comment, self._assembly(), twin)

    def _assembly(self) -> Assembly:
        into = Assembly()
        loop, end = into.label(), into.label()
        self._begin(into)
        into.place(loop)
        self._taps(into)
        decoded(into, self.bits == 8)
        if self.begun:
            more(into, Y if self.rule is None else 60 if self.block else 52)
        if self.rule is None:
            stored(into)
        else:
            codes(into, self.rule)
        into.do(f"ldr r6, [sp, #{END}]", "cmp r5, r6", into.to("beq", end), into.to("b", loop))
        into.place(end)
        into.do(f"add sp, #{20 if self.block else 16}", "pop {r4-r7}")
        into.do("mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}")
        return into

    def _begin(self, into: Assembly) -> None:
        into.do("push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}")
        if self.block:
            into.do("ldr r5, [sp, #36]", f"subs r5, #{self.rest}", "lsls r5, r5, #3", "adds r5, r0, r5")
        if self.rule is None:
            into.do("lsls r4, r3, #4", "adds r4, r2, r4", why="the end of y: four words an output")
        else:
            into.do("adds r4, r2, r3", why="the end of y")
        into.do("push {r0, r2-r5}" if self.block else "push {r0, r2-r4}")

    def _taps(self, into: Assembly) -> None:
        """All taps of an output."""
        into.do("ldr r0, [sp]")
        sums = ("r8", "r9", "r10", "r11") if self.bits == 8 else ("r10", "r11", "r12", "lr")
        if self.block:
            into.do("movs r4, #0", *(f"mov {each}, r4" for each in sums))
            repeat = into.label()
            into.place(repeat)
            self._block(into, self.block, is_first=False)
            into.do(f"adds r1, #{self.block * self.bits // 8}")
            into.do("ldr r3, [sp, #16]", "cmp r0, r3")
            if self.block > 12:  # too far for a jump with a condition
                past = into.label()
                into.do(into.to("beq", past), into.to("b", repeat))
                into.place(past)
            else:
                into.do(into.to("bne", repeat))
        size = 32 if self.bits == 8 else _PARTED
        for start in range(0, self.rest, size):
            count = min(size, self.rest - start)
            self._block(into, count, is_first=start == 0 and not self.block)
            into.do(f"adds r1, #{-(-(count * self.bits) // 32) * 4}")

    def _block(self, into: Assembly, count: int, is_first: bool) -> None:
        for tap in range(count):
            if tap % 2 == 0:
                into.do("ldmia r0!, {r4-r7}" if tap + 1 < count else "ldmia r0!, {r4, r5}")
            registers = ("r4", "r5") if tap % 2 == 0 else ("r6", "r7")
            if self.bits == 8:
                _wide(into, tap, registers, "mov" if is_first and tap == 0 else "add")
            else:
                self._narrow(into, tap, registers)
        if self.bits < 8:
            how = "mov" if is_first else "add"
            for whole, low, high in (("r8", "r10", "r11"), ("r9", "r12", "lr")):
                into.do(f"mov r4, {whole}", "uxth r5, r4", "lsrs r4, r4, #16", f"{how} {low}, r5", f"{how} {high}, r4")

    def _narrow(self, into: Assembly, tap: int, registers: tuple[str, str]) -> None:
        each = 8 // self.bits
        place, unused = tap % each, 32 - self.bits
        if place == 0:
            into.do(f"ldrb r2, [r1, #{tap // each}]")
        if place == each - 1:
            into.do(f"lsrs r3, r2, #{8 - self.bits}")
        else:
            into.do(f"lsls r3, r2, #{unused - self.bits * place}", f"lsrs r3, r3, #{unused}")
        how = "mov" if tap == 0 else "add"
        for register, whole in zip(registers, ("r8", "r9"), strict=True):
            into.do(f"muls {register}, r3, {register}", f"{how} {whole}, {register}")


def _wide(into: Assembly, tap: int, registers: tuple[str, str], how: str) -> None:
    into.do(f"ldrb r2, [r1, #{tap}]")
    for register, whole, upper in zip(registers, ("r8", "r10"), ("r9", "r11"), strict=True):
        into.do(
            f"muls {register}, r2, {register}",
            f"{how} {whole}, {register}",
            f"lsrs {register}, {register}, #16",
            f"{how} {upper}, {register}",
        )


_BEGUN = """
        {
            int32_t i;
            for (i = 0; i < 4; i++)
                sums[i] += (uint32_t)$begun[i];
        }
"""
_STORED = """
        {
            int32_t i;
            for (i = 0; i < 4; i++)
                *y++ = (int32_t)sums[i];
        }
"""


def packed(codes: Integers, bits: int) -> NDArray[np.uint32]:
    """Weights, lifted to be positive, of each output in whole words, the first at the low end.

    Args:
        codes: Shape (outputs, taps).
        bits: Of a weight.

    Returns:
        uint32, shape (outputs, words).
    """
    return side_by_side(codes + (1 << (bits - 1)), bits, 32).astype(np.uint32)
