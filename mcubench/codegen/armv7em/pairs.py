"""Sums of two outputs at several positions: two weights of 8 bits in 16, so that a product of pairs is two sums.

A half of a word is 256 a + b, with the weights a and b of two outputs for one tap, so that a word has four weights.
With R the sum of its products with codes, and B that of the products of its low bytes, R - B is 256 A, and there is
room for sums A below 2^23. The words of codes are those of `Window`, interleaved by position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.assembly import SAVED, add, function, listed, number, repeated
from mcubench.codegen.armv7em.narrow import TOTAL_WEIGHTS, mask, packed_pairs, unpacked, unpacked_c
from mcubench.codegen.armv7em.requantise import PairCodes
from mcubench.codegen.layers import Integers
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Unit

__all__ = ["Pairs", "in_order", "joined_bytes", "joined_sums", "pair_words"]

_MOST = 42  # words that are not summed in a loop

_TWIN = """
    int32_t pair, i, p;
    for (pair = 0; pair < $pairs; pair++, w += $step) {
        uint32_t both[$positions], second[$positions];
        int32_t a[$positions], b[$positions];
        for (p = 0; p < $positions; p++)
            both[p] = w[0], second[p] = w[1];
        for (i = 0; i < $words; i++)
            for (p = 0; p < $positions; p++) {
                const uint32_t codes = x[i * $positions + p];
                both[p] = products($word, codes, both[p]);
                second[p] = products($low, codes, second[p]);
            }
$totals        for (p = 0; p < $positions; p++)
            a[p] = as_signed(both[p] - second[p]), b[p] = as_signed(second[p]);
$use
    }
"""
_TWIN_TOTALS = """
        for (p = 0; p < $positions; p++) {
            const uint32_t total = products(x[$words * $positions + p], 0x${weights}u, 0);
            both[p] += total, second[p] += total;
        }
"""
_TWIN_CODES = """
        for (p = $last; p >= 0; p--) {
            y[p == 0 ? 0 : p == 1 ? (int32_t)(distances & 0xFFFFu) : (int32_t)(distances >> 16)] = $first;
            y[p == 0 ? 1 : p == 1 ? (int32_t)(distances & 0xFFFFu) + 1 : (int32_t)(distances >> 16) + 1] = $second;
        }
        y += $odd_step;
"""
_TWIN_LARGEST = """
        for (p = 1; p < $positions; p++)
            a[0] = a[p] > a[0] ? a[p] : a[0], b[0] = b[p] > b[0] ? b[p] : b[0];
"""
_TWIN_POOLED = """
        p = 0;
        y[0] = $first, y[1] = $second;
        y += $odd_step;
"""
_TWIN_MAXIMA = """
        largest[0] = a[0] > largest[0] ? a[0] : largest[0];
        largest[1] = b[0] > largest[1] ? b[0] : largest[1];
        largest += 2;
"""


def in_order(outputs: int, twice: int = 1) -> Integers:
    """Outputs in pairs: of an odd number, one is there twice, the last but one or the last."""
    order = list(range(outputs - outputs % 2))
    if outputs % 2:
        order += [outputs - 1 - twice, outputs - 1]
    return np.array(order)


def joined_bytes(codes: Integers) -> Integers:
    """Words of two outputs: from (2 n, words, 2) to uint32 (n, words)."""
    halves = (256 * codes[::2] + codes[1::2]) & 0xFFFF
    return halves[..., 0] | halves[..., 1] << 16


def joined_sums(sums: Integers, bits: int = 8) -> Integers:
    """What R and B start with, of sums of outputs in pairs: uint32 (n, 2)."""
    return (np.stack([256 * sums[::2] + sums[1::2], sums[1::2]], 1) << (8 - bits)) & 0xFFFFFFFF


def pair_words(codes: Integers, sums: Integers, last: Integers | None, bits: int = 8) -> Integers:
    """The words that `Pairs` reads: of each pair what sums start with, its weights, and what makes codes of them."""
    parts = [joined_sums(sums, bits), joined_bytes(codes) if bits == 8 else packed_pairs(codes, bits)]
    return np.concatenate(parts if last is None else [*parts, last], 1)


@dataclass(frozen=True)
class Pairs:
    """The sums of all outputs, pair by pair, at some positions.

    Attributes:
        words: Of a window.
        outputs: Their number; of an odd one, the last pair lies one output before its place.
        pooled: Whether the largest of the positions is taken.
        codes: How codes are made; ``None``: the largest sums are kept, of those and what was kept before.
        bits: Of a weight; with fewer than 8, sums of codes follow the words of windows.
    """

    words: int
    outputs: int
    pooled: bool
    codes: PairCodes | None
    bits: int = 8

    @property
    def positions(self) -> int:
        """How many at a time: three in all registers; two where their largest is taken."""
        return 2 if self.pooled else 3

    def function(self, unit: Unit) -> str:
        """The name of the function. It takes words of windows and weights, and where codes are put.

        Without pooling also the distances of the second and the third position's codes, 16 bits each. Without codes
        it takes a place for two sums of each pair, 256 times the first output's, and the second's.
        """
        target = "int8_t *y" if self.codes else "int32_t *largest"
        parameters = f"const uint32_t *x, const uint32_t *w, {target}"
        parameters += "" if self.pooled else ", uint32_t distances"
        comment = (
            f"{self.outputs} outputs, two at a time, at {self.positions} positions of {self.words} words of two taps. "
            f"r0: x, r1: w, r2..: sums, {self.weights[0]}..: weights, {self.inputs[0]}..: codes"
        )
        unit.use("lifted_code")
        return function(unit, "pairs", parameters, comment, self._lines(), self._twin())

    @property
    def sums(self) -> list[str]:
        """Registers of R at each position, and of B."""
        return [f"r{each}" for each in range(2, 2 + 2 * self.positions)]

    @property
    def weights(self) -> list[str]:
        """Registers of weights."""
        return ["r8", "r9", "r10"] if self.positions == 3 else ["r6", "r7", "r8", "r9"]

    @property
    def inputs(self) -> list[str]:
        """Registers of codes: as many as are loaded together."""
        return ["r11", "r12", "lr"] if self.positions == 3 else ["r10", "r11", "r12", "lr"]

    @property
    def pairs(self) -> int:
        """Number of pairs, of which an odd number of outputs has one more."""
        return -(-self.outputs // 2)

    def _lines(self) -> list[str]:
        n = self.positions
        odd = self.outputs % 2 if self.codes else 0
        first, second = self.sums[:n], self.sums[n:]
        each, step = self._unroll(), self._step()
        # On the stack: y, distances, the end of weights, the end of a pair's, the end of the last pair
        lines = ["push {r4-r11, lr}", "sub sp, sp, #24", "str r2, [sp]"]
        if not self.pooled:
            lines += ["uxth r4, r3", "lsr r5, r3, #16", "strd r4, r5, [sp, #4]"]
        lines += [*number("r4", 4 * step * (self.pairs - odd)), "add r4, r4, r1", "str r4, [sp, #12]"]
        if odd:
            lines += [*add("r4", 4 * step, "r5"), "str r4, [sp, #20]"]
        lines += ["1:"]
        if each == self.words:
            lines += [f"ldmia r1!, {listed([first[-1], second[-1]])}", *self._products(self.words, fresh=True)]
        else:
            lines += [f"ldmia r1!, {listed([first[0], second[0]])}"]
            lines += [f"mov {to}, {sums[0]}" for sums in (first, second) for to in sums[1:]]
            whole = self.words // each * each
            lines += [*number("r9", 4 * self._stored(whole)), "add r9, r9, r1", "str r9, [sp, #16]", "2:"]
            lines += self._products(each, fresh=False)
            lines += ["ldr r9, [sp, #16]", "cmp r1, r9", "bne 2b", *self._products(self.words - whole, fresh=False)]
        lines += [f"sub {a}, {a}, {b}" for a, b in zip(first, second, strict=True)]
        if self.bits < 8:
            lines += [f"ldm r0, {listed(self.inputs[:n])}", *number(self.weights[0], TOTAL_WEIGHTS)]
            lines += self._products_of(self.weights[0], self.inputs[:n], second, False)
        lines += add("r0", -4 * n * self.words, "r9")
        if self.pooled:
            lines += self._largest(*first) + self._largest(*second)
        lines += self._kept() if self.codes is None else self._pooled() if self.pooled else self._codes()
        lines += ["bne 1b"]
        if odd:  # the last pair begins one output earlier
            lines += ["ldr r9, [sp, #20]", "cmp r1, r9", "beq 3f", "str r9, [sp, #12]"]
            lines += ["ldr r9, [sp]", "sub r9, r9, #1", "str r9, [sp]", "b 1b", "3:"]
        return [*lines, "add sp, sp, #24", "pop {r4-r11, pc}"]

    def _step(self) -> int:
        """Words of a pair."""
        return 2 + self._stored(self.words) + (0 if self.codes is None else 6)

    def _stored(self, words: int) -> int:
        """Words that so many words of weights are stored in."""
        return -(-words * self.bits // 8)

    def _unroll(self) -> int:
        """Words of a pass of the loop, a multiple of what is loaded together."""
        if self.words <= _MOST:
            return self.words
        groups = self.words // self._together
        passes = -(-groups * self._together // (_MOST // 2))
        return self._together * (groups // passes)

    @property
    def _together(self) -> int:
        """Words of weights that are loaded together."""
        return len(self.weights) if self.bits == 8 else 8 // self.bits

    def _products(self, words: int, fresh: bool) -> list[str]:
        """Sums over so many words; `fresh`: what they start with is in the last of each kind of sums."""
        lines = [] if self.bits == 8 else [f"mov {self.weights[2]}, #0x{mask(self.bits):08x}"]
        if fresh:
            lines += self._group(min(words, self._together), fresh=True)
            words -= min(words, self._together)
        whole, rest = divmod(words, self._together)
        lines += repeated(whole, self._group(self._together))
        return [*lines, *self._group(rest)] if rest else lines

    def _group(self, words: int, fresh: bool = False) -> list[str]:
        """Sums over words of weights that are loaded together."""
        n, weights = self.positions, self.weights
        first, second = self.sums[:n], self.sums[n:]
        together = len(self.inputs) // n  # words of each position that are loaded at once
        lines = [f"ldmia r1!, {listed(weights[:words])}" if self.bits == 8 else f"ldr {weights[0]}, [r1], #4"]
        for index in range(words):
            at = index % together
            if at == 0:
                lines += [f"ldmia r0!, {listed(self.inputs[: n * min(together, words - index)])}"]
            codes = self.inputs[n * at : n * (at + 1)]
            weight, low = (weights[index], "sxtb16") if self.bits == 8 else (weights[1], "uxtb16")
            if self.bits < 8:
                lines += [unpacked(weight, weights[0], weights[2], index, self.bits)]
            lines += self._products_of(weight, codes, first, fresh and index == 0)
            lines += [f"{low} {weight}, {weight}", *self._products_of(weight, codes, second, fresh and index == 0)]
        return lines

    @staticmethod
    def _products_of(weight: str, codes: list[str], sums: list[str], fresh: bool) -> list[str]:
        pairs = zip(codes, sums, strict=True)
        return [f"smlad {to}, {weight}, {code}, {sums[-1] if fresh else to}" for code, to in pairs]

    @staticmethod
    def _largest(one: str, other: str) -> list[str]:
        return [f"cmp {other}, {one}", "it gt", f"movgt {one}, {other}"]

    def _codes(self) -> list[str]:
        """Codes at three positions; flags say whether that was all."""
        assert self.codes is not None
        first, second = self.sums[:3], self.sums[3:]
        lines = ["ldmia r1!, {r8-r10}"]
        for sum_ in first:
            lines += self.codes.first_lines(sum_, "r8", "r9", "r10", "r11")
        lines += ["ldm sp, {r11, r12, lr}"]
        lines += [f"strb {first[1]}, [r11, r12]", f"strb {first[2]}, [r11, lr]", f"strb {first[0]}, [r11], #1"]
        lines += ["ldmia r1!, {r8-r10}"]
        for sum_ in second:
            lines += self.codes.second_lines(sum_, "r8", "r9", "r10", first[0])
        lines += [f"strb {second[1]}, [r11, r12]", f"strb {second[2]}, [r11, lr]", f"strb {second[0]}, [r11], #1"]
        return [*lines, "str r11, [sp]", "ldr r8, [sp, #12]", "cmp r1, r8"]

    def _pooled(self) -> list[str]:
        """Codes of the largest; flags say whether that was all."""
        assert self.codes is not None
        first, second = self.sums[0], self.sums[2]
        lines = ["ldmia r1!, {r6-r11}"]
        lines += self.codes.first_lines(first, "r6", "r7", "r8", "r12")
        lines += self.codes.second_lines(second, "r9", "r10", "r11", "r12")
        lines += ["ldr r6, [sp]", "ldr r7, [sp, #12]", f"strb {second}, [r6, #1]", f"strb {first}, [r6], #2"]
        return [*lines, "str r6, [sp]", "cmp r1, r7"]

    def _kept(self) -> list[str]:
        """The largest sums so far; flags say whether that was all."""
        first, second = self.sums[0], self.sums[2]
        lines = ["ldr r12, [sp]", "ldrd r6, r7, [r12]", *self._largest(first, "r6"), *self._largest(second, "r7")]
        lines += [f"strd {first}, {second}, [r12], #8", "ldr r6, [sp, #12]", "str r12, [sp]"]
        return [*lines, "cmp r1, r6"]

    def _twin(self) -> str:
        values: dict[str, object] = {"positions": self.positions, "last": self.positions - 1, "words": self.words}
        odd_step = f"pair == {self.pairs - 2} ? 1 : 2" if self.outputs % 2 else "2"
        use = _TWIN_LARGEST if self.pooled else ""
        if self.codes is None:
            use += _TWIN_MAXIMA
        else:
            end = 2 + self._stored(self.words)
            values["first"] = self.codes.first_c("a[p]", f"(w + {end})")
            values["second"] = self.codes.second_c("b[p]", f"(w + {end + 3})")
            use += _TWIN_POOLED if self.pooled else _TWIN_CODES
        use = fill(use, **values, odd_step=odd_step).rstrip("\n")
        word = "w[2 + i]" if self.bits == 8 else unpacked_c("(w + 2)", "i", self.bits)
        return fill(
            _TWIN,
            **values,
            pairs=self.pairs,
            step=self._step(),
            word=word,
            low=f"even_bytes({word})" if self.bits == 8 else f"({word} & 0x00ff00ffu)",
            totals="" if self.bits == 8 else fill(_TWIN_TOTALS, **values, weights=f"{TOTAL_WEIGHTS:08x}"),
            use=use,
        )

    @property
    def stack(self) -> int:
        """Bytes of the stack."""
        return SAVED + 24
