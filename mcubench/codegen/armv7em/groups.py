"""Sums of pairs of outputs over a few words of codes: what dense layers and the gates of recurrent ones are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.assembly import listed
from mcubench.codegen.armv7em.narrow import packed_pairs, unpacked
from mcubench.codegen.armv7em.pairs import joined_bytes
from mcubench.codegen.layers import Integers

__all__ = ["TAPS", "Group", "code_words"]

TAPS = 8  # of a group: what is loaded together
_CODES = ("r10", "r11", "r12", "lr")


def code_words(codes: Integers, taps: int) -> Integers:
    """Weights in the order in which `widened` leaves codes: from (outputs, own taps) to (outputs, taps / 2, 2)."""
    full = np.zeros((len(codes), taps), np.int64)
    full[:, : codes.shape[1]] = codes
    return full.reshape(len(codes), -1, 4)[:, :, [0, 2, 1, 3]].reshape(len(codes), -1, 2)


@dataclass(frozen=True)
class Group:
    """Products of words of codes with weights. r0: codes, r1: weights, r2..r5: sums, r6..r9: weights, r10..lr: codes.

    Attributes:
        pairs: Pairs of outputs, 1 or 2.
        bits: Of a weight; with fewer than 8, r9 has their mask.
        words: Of codes, 4 or, with 8 bits, 2.
    """

    pairs: int
    bits: int
    words: int = 4

    @property
    def sums(self) -> list[str]:
        """Registers of sums: R and B of each pair."""
        return [f"r{each}" for each in range(2, 2 + 2 * self.pairs)]

    def lines(self, stored: bool = False) -> list[str]:
        """Instructions of 4 bytes each, so that a jump finds its place among groups.

        Args:
            stored: Whether second outputs' weights stand beside those of both, not to be unpacked.
        """
        codes = _CODES[: self.words]
        lines = [f"ldmia.w r0!, {listed(codes)}"]
        if self.bits < 8:
            return [*lines, *self._unpacked(codes)]
        count = self.pairs * self.words
        for first in range(0, count, 4):
            loaded = ["r6", "r7", "r8", "r9"][: count - first]
            lines += [f"ldmia.w r1!, {listed(loaded)}"]
            own = [
                (weight, codes[(first + index) // self.pairs], self.sums[2 * (index % self.pairs) :][:2])
                for index, weight in enumerate(loaded)
            ]
            for weight, code, (both, second) in own:
                lines += [f"smlad {both}, {weight}, {code}, {both}"]
                if not stored:
                    lines += [f"sxtb16 {weight}, {weight}", f"smlad {second}, {weight}, {code}, {second}"]
            if stored:
                lines += [f"ldmia.w r1!, {listed(loaded)}"]
                lines += [f"smlad {second}, {weight}, {code}, {second}" for weight, code, (_, second) in own]
        return lines

    def _unpacked(self, codes: tuple[str, ...]) -> list[str]:
        """The same for weights that have to be unpacked, behind the load of codes."""
        lines, each = [], 8 // self.bits
        words = [(pair, first) for pair in range(self.pairs) for first in range(0, self.words, each)]
        for start in range(0, len(words), 2):
            now = words[start : start + 2]
            lines += ["ldmia.w r1!, {r6, r7}" if len(now) == 2 else "ldr.w r6, [r1], #4"]
            for packed, (pair, first) in zip(("r6", "r7"), now, strict=False):
                both, second = self.sums[2 * pair : 2 * pair + 2]
                for index in range(each):
                    code = codes[first + index]
                    lines += [unpacked("r8", packed, "r9", index, self.bits), f"smlad {both}, r8, {code}, {both}"]
                    lines += ["uxtb16 r8, r8", f"smlad {second}, r8, {code}, {second}"]
        return lines

    def stored(self, codes: Integers) -> Integers:
        """The weights of blocks in the order in which they are read: (blocks, words), group behind group.

        Args:
            codes: Shape (outputs of all blocks, words of some groups, 2).
        """
        blocks = len(codes) // (2 * self.pairs)
        if self.bits == 8:
            own = joined_bytes(codes).reshape(blocks, self.pairs, -1)  # (block, pair, word)
            return own.swapaxes(1, 2).reshape(blocks, -1)
        by_group = codes.reshape(len(codes), -1, 4, 2).swapaxes(0, 1).reshape(-1, 4, 2)  # (group and output, word, 2)
        packed = packed_pairs(by_group, self.bits).reshape(-1, blocks, self.pairs * self.bits // 2)
        return packed.swapaxes(0, 1).reshape(blocks, -1)
