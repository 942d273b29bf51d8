"""From sums to codes: a product's high word, a shift and saturation, with constants that make both roundings exact.

The reference rounds twice: q = floor(2 s m / 2^32 + 1/2), then floor((q + 2^(n - 1) - [q < 0]) / 2^n). As a floor of a
floor is the floor of the whole, both are floor((2 s m / 2^32 + 1/2 + 2^(n - 1)) / 2^n), but for the negative q. Of the
sum lifted by d >= 1 more bits, 2^(d + 1) s, SMMLA gives exactly what has to be shifted by n + d, if the constant
2^(d - 1) + 2^(n + d - 1) is added to it, and the zero point times 2^(n + d): no rounding of its own is needed. With
n <= 0, which shifts up before the only rounding, the constant is 2^(n + d - 1).

Where the zero point is -128, negative q end up at -128 whichever way they are rounded: `cut`. Otherwise the sign of the
sum is that of q, or q is 0, which the correction by 1 does not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mcubench.codegen.layers import Integers, Rescaling, rescaling
from mcubench.codegen.program import Step

__all__ = ["Lifted", "PairCodes", "lifted", "pair_codes", "plain_range"]

_ROOM = 7  # bits that a weight of 8 can be lifted by, and one more, within 16
_WORD = 1 << 31  # sums lie below it
_SHIFT = 12  # of second outputs in all layers that allow it, so that they share functions
_OUTPUTS = 1 << 12  # of a layer for which a function of its own pays, with the shift of its first outputs in it


def plain_range(factors: Rescaling) -> bool:
    """Whether codes are saturated to int8, and nothing else."""
    return factors.low == -128 and factors.high == 127


def _constants(factors: Rescaling, lifts: Integers) -> Integers:
    shifts = -factors.exponents
    behind = shifts + lifts  # bits below those of the code
    once = np.where(shifts > 0, 1 << (lifts - 1), 0)  # without a shift there is but one rounding
    found: Integers = once + (1 << (behind - 1)) + (factors.zero_point << behind)
    return found


def _fits(factors: Rescaling, lifts: Integers, bounds: Integers) -> bool:
    """Whether no step overflows for sums within bounds."""
    if lifts.min() < 1 or (lifts - factors.exponents).min() < 1:
        return False
    sums = bounds << (lifts + 1)
    products = (sums * factors.multipliers >> 32) + 1
    return bool((sums < _WORD).all() and (products + abs(_constants(factors, lifts)) < _WORD).all())


@dataclass(frozen=True)
class PairCodes:
    """Codes of two outputs a pair, whose sums come as 256 s of the first, and s of the second.

    Each has three words: a multiplier, a constant and a shift.

    Attributes:
        cut: Whether negative results need no correction.
        whole: Whether first outputs come as s as well.
        spare: Bits of a byte that weights don't fill; sums of pairs are so much larger.
        first: How far all first outputs are shifted right, ``None`` if their third word says it.
        second: The same for second outputs; then the third word says how far they are lifted before. Only if `cut`.
        words: uint32, shape (pairs, 6).
    """

    cut: bool
    whole: bool
    spare: int
    first: int | None
    second: int | None
    words: Integers

    def first_lines(self, sum_: str, multiplier: str, constant: str, shift: str, spare: str) -> list[str]:
        """The code of a first output, in place of its sum; `spare` is written to unless `cut`."""
        if self.whole:
            return self.second_lines(sum_, multiplier, constant, shift, spare)
        return [
            *self._product(sum_, multiplier, constant, spare, 7 + self.spare),
            *self._shifted(sum_, shift, self.first),
        ]

    def second_lines(self, sum_: str, multiplier: str, constant: str, shift: str, spare: str) -> list[str]:
        """The code of a second output, in place of its sum."""
        lifts = f"lsl {sum_}, {sum_}, {'#2' if self.second is None else shift}"
        return [
            lifts,
            *self._product(sum_, multiplier, constant, spare, 1 + self.spare),
            *self._shifted(sum_, shift, self.second),
        ]

    def _product(self, sum_: str, multiplier: str, constant: str, spare: str, lift: int) -> list[str]:
        if self.cut:
            return [f"smmla {sum_}, {sum_}, {multiplier}, {constant}"]
        return [
            f"asr {spare}, {sum_}, #31",
            f"add {spare}, {constant}, {spare}, lsl #{lift}",
            f"smmla {sum_}, {sum_}, {multiplier}, {spare}",
        ]

    @staticmethod
    def _shifted(sum_: str, shift: str, all_: int | None) -> list[str]:
        if all_ is not None:
            return [f"ssat {sum_}, #8, {sum_}, asr #{all_}"]
        return [f"asr {sum_}, {sum_}, {shift}", f"ssat {sum_}, #8, {sum_}"]

    def first_c(self, sum_: str, words: str) -> str:
        """The code of a first output in C."""
        if self.whole:
            return self.second_c(sum_, words)
        shift = str(self.first) if self.first is not None else f"(int32_t){words}[2]"
        return f"lifted_code({sum_}, {words}, {-1 if self.cut else 7 + self.spare}, {shift})"

    def second_c(self, sum_: str, words: str) -> str:
        """The code of a second output in C."""
        if self.second is not None:
            return f"lifted_code((int32_t)((uint32_t)({sum_}) << {words}[2]), {words}, -1, {self.second})"
        lift = -1 if self.cut else 1 + self.spare
        return f"lifted_code((int32_t)((uint32_t)({sum_}) << 2), {words}, {lift}, (int32_t){words}[2])"


def pair_codes(step: Step, bounds: Integers, order: Integers, whole: bool = False, spare: int = 0) -> PairCodes | None:
    """How the codes of a layer are made of sums of pairs; ``None`` if they can't be.

    Args:
        step: The layer.
        bounds: What sums of each output don't exceed, in either direction.
        order: Outputs in pairs, an even number of them.
        whole: Whether first outputs come as their sums, not as 256 times these.
        spare: Bits of a byte that weights don't fill; sums of pairs, if not whole, are so much larger.
    """
    every = rescaling(step)
    if not plain_range(every):
        return None
    limits = bounds[order]
    factors = _chosen(_without_dead(every, bounds), order)
    cut = factors.zero_point == -128
    shifts = -factors.exponents
    spare = 0 if whole else spare
    if (not whole and limits.max() >= 1 << (23 - spare)) or (not cut and shifts.min() < 1):
        return None
    lifted_ones = slice(None) if whole else slice(1, None, 2)
    least = max(1, int(shifts.max()) + max(1, spare))
    for second in (max(_SHIFT, least), least, None) if cut else (None,):
        lifts = np.full_like(shifts, 7 + spare)
        lifts[lifted_ones] = 1 + spare if second is None else second - shifts[lifted_ones]
        if _fits(factors, lifts, limits):
            break
    else:
        return None
    third = shifts + lifts
    same = not whole and spare == 0 and step.output.size >= _OUTPUTS and bool((third[::2] == third[0]).all())
    if second is not None:
        third[lifted_ones] = lifts[lifted_ones] + 1 - spare
    words = np.stack([factors.multipliers, _constants(factors, lifts), third], 1).reshape(-1, 6)
    return PairCodes(
        cut=cut,
        whole=whole,
        spare=spare,
        first=int(third[0]) if same else None,
        second=second,
        words=words & 0xFFFFFFFF,
    )


@dataclass(frozen=True)
class Lifted:
    """Codes of sums that are lifted by the weights' own scale: weights of 16 bits have room for it.

    Attributes:
        shift: How far all are shifted right; ``None`` if they differ by more than there is room for.
        factors: What each output's weights and bias are multiplied with.
        words: uint32, shape (outputs, 2 or 3): multiplier and constant, and the shift if it is each output's own.
    """

    shift: int | None
    factors: Integers
    words: Integers

    def lines(self, sums: Sequence[str], multiplier: str, constant: str, shift: Sequence[str]) -> list[str]:
        """The codes in place of sums of one output.

        Args:
            sums: Registers.
            multiplier: The register that it is in.
            constant: The same.
            shift: What loads the shift, if there is one, into the register that is named behind it.
        """
        lines = [f"smmla {each}, {each}, {multiplier}, {constant}" for each in sums]
        if self.shift is not None:
            return lines + [f"ssat {each}, #8, {each}, asr #{self.shift}" for each in sums]
        load, register = shift
        lines += [load, *(f"asr {each}, {each}, {register}" for each in sums)]
        return lines + [f"ssat {each}, #8, {each}" for each in sums]

    def code_c(self, sum_: str, words: str) -> str:
        """The code of a sum in C."""
        shift = f"(int32_t)({words})[2]" if self.shift is None else str(self.shift)
        return f"lifted_code({sum_}, {words}, -1, {shift})"


def lifted(step: Step, bounds: Integers) -> Lifted | None:
    """How codes of a layer are made of sums of lifted weights; ``None`` if they can't be."""
    factors = rescaling(step)
    if not plain_range(factors) or factors.zero_point != -128:
        return None
    factors = _without_dead(factors, bounds)
    shifts = -factors.exponents
    shift = max(1, int(shifts.max()) + 1)
    lifts = shift - shifts
    alike = bool(lifts.max() <= _ROOM) and _fits(factors, lifts, bounds)
    if not alike:
        lifts = np.maximum(1, 1 - shifts)
        if lifts.max() > _ROOM or not _fits(factors, lifts, bounds):
            return None
    words = [factors.multipliers, _constants(factors, lifts), *([] if alike else [shifts + lifts])]
    return Lifted(shift if alike else None, 2 << lifts, np.stack(words, 1) & 0xFFFFFFFF)


def _without_dead(factors: Rescaling, bounds: Integers) -> Rescaling:
    """The same, with a factor of 0 where a sum becomes 0 whatever it is, and no far shift for it."""
    small = (factors.exponents < 0) & (bounds < 1 << np.clip(-factors.exponents - 1, 0, 40))
    dead = small | (factors.multipliers == 0)
    shifts = -factors.exponents[~dead]
    usual = int(shifts.min()) if len(shifts) else 1
    return Rescaling(
        np.where(dead, 0, factors.multipliers),
        np.where(dead, -usual, factors.exponents),
        factors.zero_point,
        factors.low,
        factors.high,
    )


def _chosen(factors: Rescaling, order: Integers) -> Rescaling:
    return Rescaling(
        factors.multipliers[order], factors.exponents[order], factors.zero_point, factors.low, factors.high
    )
