"""Windows over codes as pairs of 16 bits, those of several positions interleaved word by word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.assembly import add, function, listed, number, unrolled
from mcubench.codegen.layers import Integers
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Unit

__all__ = ["Window"]

_UNROLLED = 14  # words of four codes; above it there are loops
_FARTHEST = 4095  # bytes that a load reaches

_TWIN = """
    const int8_t *const from[$positions] = { $pointers };
    int32_t row, i, p;
    for (row = 0; row < $rows; row++) {
        for (i = 0; i < $quads; i++, into += 2 * $positions)
            for (p = 0; p < $positions; p++) {
                const uint32_t word = word_at(from[p] + $stride * row + 4 * i);
                into[p] = even_bytes(word), into[p + $positions] = odd_bytes(word);
            }
        for (i = $quads * 4; i + 1 < $paired; i += 2, into += $positions)
            for (p = 0; p < $positions; p++)
                into[p] = halves(from[p][$stride * row + i], from[p][$stride * row + i + 1]);
        for (; i < $paired; i++, into += $positions)
            for (p = 0; p < $positions; p++)
                into[p] = halves(from[p][$stride * row + i], from[p][$stride * row + i] < 0 ? -1 : 0);
    }
    for (row = 0; $paired < $run && row < $rows; row += 2, into += $positions)
        for (p = 0; p < $positions; p++) {
            const int32_t one = from[p][$stride * row + $paired];
            into[p] = halves(one, row + 1 < $rows ? from[p][$stride * (row + 1) + $paired] : one < 0 ? -1 : 0);
        }
"""


@dataclass(frozen=True)
class Window:
    """The codes of a window: rows of so many that follow each other.

    Of four codes, the even ones are a word and the odd ones another. Of what is left of a row, two are a word; single
    ones are joined over two rows.

    Attributes:
        rows: Their number.
        run: Codes of each.
    """

    rows: int
    run: int

    @property
    def order(self) -> list[tuple[int, int]]:
        """The taps in each word, -1 for none."""
        found: list[tuple[int, int]] = []
        quads, rest = divmod(self.run, 4)
        for row in range(self.rows):
            start = self.run * row
            for first in range(start, start + 4 * quads, 4):
                found += [(first, first + 2), (first + 1, first + 3)]
            start += 4 * quads
            if rest >= 2:
                found.append((start, start + 1))
            if rest == 3:
                found.append((start + 2, -1))
        if rest == 1:
            lasts = [self.run * (row + 1) - 1 for row in range(self.rows)] + [-1]
            found += [(lasts[row], lasts[row + 1]) for row in range(0, self.rows, 2)]
        return found

    @property
    def words(self) -> int:
        """Words of a position."""
        return len(self.order)

    def arranged(self, codes: Integers) -> Integers:
        """Weights in the order of the words: from (outputs, taps) to (outputs, words, 2)."""
        padded = np.pad(codes, ((0, 0), (0, 1)))
        return padded[:, np.array(self.order)]

    def reaches(self, stride: int) -> bool:
        """Whether loads reach what is joined over rows of that distance."""
        return self.run % 4 != 1 or stride * self.rows <= _FARTHEST

    def gather(self, unit: Unit, positions: int, stride: int) -> str:
        """The name of a function that takes a pointer to the window of each position, and where words are put.

        Args:
            unit: Where it is written.
            positions: 1 to 3.
            stride: Distance of rows in bytes.
        """
        stride = stride if self.rows > 1 else 0  # so that windows of one row have one function
        from_ = [f"r{each}" for each in range(positions)]
        names = [f"x{each}" for each in range(positions)]
        parameters = ", ".join([*(f"const int8_t *{each}" for each in names), "uint32_t *into"])
        rest = self.run % 4
        twin = fill(
            _TWIN,
            positions=positions,
            pointers=", ".join(names),
            rows=self.rows,
            quads=self.run // 4,
            stride=stride,
            paired=self.run - (rest == 1),
            run=self.run,
        )
        comment = (
            f"{positions} windows of {self.rows} x {self.run} codes, widened and interleaved. "
            f"r0..: windows, r{positions}: into, r4..r11: codes, r12, lr: counts"
        )
        lines = _Lines(self, positions, stride, from_).text()
        return function(unit, "gather", parameters, comment, lines, twin)


class _Lines:
    """The instructions of such a function."""

    def __init__(self, window: Window, positions: int, stride: int, from_: list[str]) -> None:
        self.window, self.positions, self.stride, self.from_ = window, positions, stride, from_
        self.into = f"r{positions}"
        self.data = [f"r{each}" for each in range(4, 4 + 2 * positions)]

    def text(self) -> list[str]:
        window, quads = self.window, self.window.run // 4
        rest = window.run % 4
        flat = window.rows * quads <= _UNROLLED and self.stride * (window.rows - 1) + window.run <= _FARTHEST
        lines = ["push {r4-r11, lr}"]
        if flat:
            for row in range(window.rows):
                for quad in range(quads):
                    lines += self.quad(f"#{self.stride * row + 4 * quad}")
                lines += self.tail(row, 4 * quads, rest)
        else:
            lines += self.loops(quads, rest)
        if rest == 1:
            lines += self.singles(quads, at_end=not flat)
        return [*lines, "pop {r4-r11, pc}"]

    def loops(self, quads: int, rest: int) -> list[str]:
        """A loop over rows, and one over what is in a row, in which pointers move on."""
        rows, each = self.window.rows, unrolled(quads, 8) if quads else 0
        lines = [*number("r12", rows), "1:"] if rows > 1 else []
        if quads > each:
            lines += [*number("lr", quads // each), "2:"]
        for index in range(each):
            lines += self.quad(f"#{4 * index}")
        for pointer in self.from_ if quads else []:
            lines += add(pointer, 4 * each, "r11")
        if quads > each:
            lines += ["subs lr, lr, #1", "bne 2b"]
        lines += self.tail(0, 0, rest)
        for pointer in self.from_ if rows > 1 else []:
            lines += add(pointer, self.stride - 4 * quads, "r11")
        return [*lines, "subs r12, r12, #1", "bne 1b"] if rows > 1 else lines

    def quad(self, offset: str) -> list[str]:
        """Four codes of each position: two words of each."""
        even, odd = self.data[: self.positions], self.data[self.positions :]
        lines = [f"ldr {into}, [{pointer}, {offset}]" for into, pointer in zip(odd, self.from_, strict=True)]
        for low, high in zip(even, odd, strict=True):
            lines += [f"sxtb16 {low}, {high}", f"sxtb16 {high}, {high}, ror #8"]
        return [*lines, self.store(self.data)]

    def tail(self, row: int, start: int, rest: int) -> list[str]:
        """Two or three codes at the end of a row."""
        at = self.stride * row + start
        lines = []
        if rest >= 2:
            lines += self.joined(at, at + 1)
        if rest == 3:
            words = self.data[: self.positions]
            lines += [f"ldrsb {word}, [{pointer}, #{at + 2}]" for word, pointer in zip(words, self.from_, strict=True)]
            lines.append(self.store(words))
        return lines

    def joined(self, first: int, second: int) -> list[str]:
        """Words of two codes that don't come in one load."""
        low, high = self.data[: self.positions], self.data[self.positions :]
        lines = []
        for pointer, one, other in zip(self.from_, low, high, strict=True):
            lines += [f"ldrsb {one}, [{pointer}, #{first}]", f"ldrsb {other}, [{pointer}, #{second}]"]
            lines.append(f"pkhbt {one}, {one}, {other}, lsl #16")
        return [*lines, self.store(low)]

    def singles(self, quads: int, at_end: bool) -> list[str]:
        """The last codes of rows, two rows at a time; loops have left the pointers behind the rows."""
        rows, last = self.window.rows, self.window.run - 1
        lines = []
        if at_end:
            for pointer in self.from_:
                lines += add(pointer, last - (self.stride * rows if rows > 1 else 4 * quads), "r11")
        for row in range(0, rows, 2):
            start = self.stride * row + (0 if at_end else last)
            if row + 1 < rows:
                lines += self.joined(start, start + self.stride)
            else:
                words = self.data[: self.positions]
                pairs = zip(words, self.from_, strict=True)
                lines += [f"ldrsb {word}, [{pointer}, #{start}]" for word, pointer in pairs]
                lines.append(self.store(words))
        return lines

    def store(self, words: list[str]) -> str:
        return f"stmia {self.into}!, {listed(words)}"
