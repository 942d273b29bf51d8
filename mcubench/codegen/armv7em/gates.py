"""Sums of the gates of some units, as pairs of outputs in registers, brought to 16 bits in two halves of a word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.assembly import listed, number, repeated
from mcubench.codegen.armv7em.groups import Group, code_words
from mcubench.codegen.armv7em.narrow import mask
from mcubench.codegen.armv7em.pairs import joined_sums
from mcubench.codegen.layers import Integers, bounds_of
from mcubench.codegen.recurrent import Product

__all__ = ["Gates", "Literals"]

_GROUPS = 6  # at most, of those that are written one after the other
_WORD = 1 << 31  # sums lie below it


class Literals:
    """Words behind a function, each few with a label."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def put(self, words: Sequence[int]) -> str:
        """What refers to these words, from before them."""
        label = 20 + sum(each.endswith(":") for each in self._lines)
        self._lines += [f"{label}:", ".word " + ", ".join(f"0x{word & 0xFFFFFFFF:08x}" for word in words)]
        return f"{label}f"

    def lines(self) -> list[str]:
        """All of them."""
        return [".balign 4", *self._lines]


@dataclass(frozen=True)
class Gates:
    """What the gates of some units make of one vector.

    Attributes:
        product: All gates, units of zeros included.
        units: Of a block: of those that are computed at once; its gates are 4 or 6.
    """

    product: Product
    units: int

    @property
    def rows(self) -> int:
        """Gates of a block."""
        return self.units * self.product.gates

    @property
    def words(self) -> int:
        """Of codes, two taps each."""
        each = 4 if self.product.bits == 8 else 8
        return -(-self.product.taps // each) * each // 2

    @property
    def runs(self) -> Iterator[range]:
        """The rows of a block that are summed at once."""
        return (range(first, min(first + 4, self.rows)) for first in range(0, self.rows, 4))

    @property
    def fits(self) -> bool:
        """Whether no step overflows."""
        bits, factors = self.product.bits, self.product.factors
        bounds = bounds_of(self.product.codes, self.product.starts).reshape(-1, self.product.gates).max(0)
        doubled = bounds << (1 + np.maximum(factors.exponents, 0))
        return bool((bounds < 1 << (15 + bits)).all() and (doubled < _WORD).all())

    @property
    def end(self) -> int:
        """Bytes of codes that a loop goes over, 0 if there is none."""
        groups = self.words // 4
        return 16 * (groups - groups % self._turn) if groups > _GROUPS else 0

    @property
    def _turn(self) -> int:
        """Groups of a turn of the loop: so many that few are left."""
        return min(range(_GROUPS, _GROUPS // 2, -1), key=lambda each: self.words // 4 % each)

    def stream(self) -> Integers:
        """What sums start with, and weights, run by run: (blocks, words)."""
        codes = code_words(self.product.codes, 2 * self.words)
        codes = codes.reshape(-1, self.rows, *codes.shape[1:])
        starts = self.product.starts.reshape(-1, self.rows)
        whole = self.words - self.words % 4
        parts = []
        for run in self.runs:
            own = codes[:, run].reshape(-1, *codes.shape[2:])
            pairs, blocks = len(run) // 2, len(codes)
            parts.append(joined_sums(starts[:, run].ravel(), self.product.bits).reshape(blocks, -1))
            parts.append(Group(pairs, self.product.bits).stored(own[:, :whole]))
            if whole < self.words:
                parts.append(Group(pairs, self.product.bits, 2).stored(own[:, whole:]))
        return np.concatenate(parts, 1)

    def lines(self, run: range, literals: Literals, end: int, lifted: int) -> list[str]:
        """Halves of r2, and of r4: gates in 16 bits, from codes at r0 and weights at r1, which go on.

        Args:
            run: The rows.
            literals: Takes the factors.
            end: Where on the stack stands how far a loop goes.
            lifted: Where on the stack stands what lifted weights add.
        """
        bits, pairs = self.product.bits, len(run) // 2
        group = Group(pairs, bits)
        lines = [f"ldmia r1!, {listed(group.sums)}"]
        lines += [f"mov r9, #0x{mask(bits):08x}"] if bits < 8 else []
        left = self.words // 4
        if self.end:
            left %= self._turn
            lines += ["2:", *repeated(self._turn, group.lines()), f"ldr r6, [sp, #{end}]", "cmp r0, r6", "bne 2b"]
        lines += repeated(left, group.lines()) if left else []
        lines += Group(pairs, bits, 2).lines() if self.words % 4 else []
        return lines + self._brought(run, group.sums, literals, lifted)

    def _brought(self, run: range, sums: list[str], literals: Literals, lifted: int) -> list[str]:
        """Both roundings: SMMLAR of twice the sum makes the first, and what it adds is for the second."""
        count, spare = len(sums), 8 - self.product.bits
        factors, gates = self.product.factors, [row % self.product.gates for row in run]
        shifts = [-int(factors.exponents[gate]) for gate in gates]
        lines = [f"sub {sums[index]}, {sums[index]}, {sums[index + 1]}" for index in range(0, count, 2)]
        if spare:
            lines += [f"ldr r6, [sp, #{lifted}]"]
            lines += [f"sub {sums[index]}, {sums[index]}, r6" for index in range(1, count, 2)]
        multipliers = ["r6", "r7", "r8", "r9"][:count]
        halves = ["r10", "r11", "r12", "lr"][:count]
        words = [int(factors.multipliers[gate]) for gate in gates] + [1 << max(shift, 0) >> 1 for shift in shifts]
        lines += [f"adr r6, {literals.put(words)}", f"ldm r6, {listed(multipliers + halves)}"]
        for index, (sum_, multiplier, half, shift) in enumerate(zip(sums, multipliers, halves, shifts, strict=True)):
            up = 1 - min(shift, 0) - spare - (8 if index % 2 == 0 else 0)
            lines += [f"{'lsl' if up > 0 else 'asr'} {sum_}, {sum_}, #{abs(up)}"] if up else []
            if shift > 0:
                lines += [f"add {half}, {half}, {sum_}, asr #31", f"smmlar {sum_}, {sum_}, {multiplier}, {half}"]
                lines += [f"ssat {sum_}, #16, {sum_}, asr #{shift}"]
            else:
                lines += [f"smmulr {sum_}, {sum_}, {multiplier}", f"ssat {sum_}, #16, {sum_}"]
        return lines + [f"pkhbt {sums[at]}, {sums[at]}, {sums[at + 1]}, lsl #16" for at in range(0, count, 2)]

    def start_lines(self, x: str, before: int, spare: str, place: int) -> list[str]:
        """Puts where a loop ends on the stack, given the register of codes, and bytes before those that are read."""
        if not self.end:
            return []
        return [*number(spare, before + self.end), f"add {spare}, {spare}, {x}", f"str {spare}, [sp, #{place}]"]

    def twin(self, x: str, lifted: str, into: str) -> str:
        """The same in C."""
        factors, bits, lines = self.product.factors, self.product.bits, []
        for run in self.runs:
            lines += [f"w = pair_run(w, {x}, {self.words}, {len(run) // 2}, {bits}, {lifted}, sums);"]
            for index, row in enumerate(run):
                gate = row % self.product.gates
                factor = f"{factors.multipliers[gate]}, {factors.exponents[gate]}"
                lines += [f"{into}[{row}] = saturated_16(rescaled(sums[{index}], {factor}));"]
        return "\n".join(lines)
