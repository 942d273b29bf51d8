"""Copies of two windows, tap by tap in the halves of words."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.codegen.armv6m.assembly import Assembly, function
from mcubench.codegen.text import fill

__all__ = ["PairKernel", "amounts"]

_STRAIGHT = 32  # codes that are written out one after the other
_BLOCK = 16  # codes of a longer row that are; what is stored of them is in reach of one pointer
_COMMENT = """
/* Codes of two windows, lifted to be positive, in the halves of every second word, $run of each row; and their sums.
   r0 and r1 windows, r2 into, r3 blocks left, r4 and r5 codes, r6 sums, r7 what lifts codes, r12 rows left */
"""
_TWIN = """
    uint32_t sums = 0;
    int32_t row, i;
    for (row = 0; row < rows; row++, first += $jump, second += $jump)
        for (i = 0; i < $run; i++, into += 2) {
            *into = ((uint32_t)(uint8_t)first[i] | (uint32_t)(uint8_t)second[i] << 16) ^ 0x00800080u;
            sums += *into;
        }
    return sums;
"""


@dataclass(frozen=True)
class PairKernel:
    """A function for rows of this shape.

    Attributes:
        run: Codes of a row, which follow each other.
        jump: Bytes from row to row.
        rows: How many, if they are written out; 0: as many as the caller says.
    """

    run: int
    jump: int
    rows: int

    @classmethod
    def of(cls, rows: int, run: int, jump: int) -> PairKernel:
        """The one for so many rows."""
        return cls(run, jump if rows > 1 else run, rows if rows * run <= _STRAIGHT else 0)

    @property
    def text(self) -> str:
        """Its definition."""
        signature = "uint32_t $name(const int8_t *first, const int8_t *second, uint32_t *into, int32_t rows)"
        return function(signature, fill(_COMMENT, run=self.run).strip(), self._assembly(), fill(_TWIN, **vars(self)))

    def _assembly(self) -> Assembly:
        into = Assembly()
        into.do("push {r4-r7, lr}", "movs r6, #0", "movs r7, #128", "lsls r5, r7, #16", "orrs r7, r5")
        if self.rows:
            for row in range(self.rows):
                self._straight(into, self.run, row * self.run)
                for step in amounts(self.jump) if row + 1 < self.rows else ():
                    into.do(f"adds r0, #{step}", f"adds r1, #{step}")
        else:
            self._looped(into)
        into.do("mov r0, r6", "pop {r4-r7, pc}")
        return into

    def _looped(self, into: Assembly) -> None:
        again = into.label()
        blocks, rest = divmod(self.run, _BLOCK)
        into.place(again)
        into.do("mov r12, r3", why="rows that are left")
        if blocks:
            into.do(f"movs r3, #{blocks}")
            block = into.label()
            into.place(block)
            self._straight(into, _BLOCK, 0)
            into.do(f"adds r0, #{_BLOCK}", f"adds r1, #{_BLOCK}", f"adds r2, #{8 * _BLOCK}")
            into.do("subs r3, #1", into.to("bne", block))
        self._straight(into, rest, 0)
        for step in amounts(8 * rest):
            into.do(f"adds r2, #{step}")
        for step in amounts(self.jump - blocks * _BLOCK):
            into.do(f"adds r0, #{step}", f"adds r1, #{step}")
        done = into.label()
        into.do("mov r3, r12", "subs r3, #1", into.to("beq", done), into.to("b", again))
        into.place(done)

    def _straight(self, into: Assembly, count: int, before: int) -> None:
        """Codes one after the other, of which some have been before."""
        for index in range(count):
            at = before + index
            if at and at % _BLOCK == 0:
                into.do(f"adds r2, #{8 * _BLOCK}")
            into.do(f"ldrb r4, [r0, #{index}]", f"ldrb r5, [r1, #{index}]", "lsls r5, r5, #16", "orrs r4, r5")
            into.do("eors r4, r7", f"str r4, [r2, #{8 * (at % _BLOCK)}]", "adds r6, r6, r4")


def amounts(total: int) -> list[int]:
    """A number in parts that an instruction adds."""
    return [min(252, total - done) for done in range(0, total, 252)]
