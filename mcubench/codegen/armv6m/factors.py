"""Factors that become codes of sums in words of 32 bits, and that give the very codes of two roundings in 64.

A code is a step function of its sum with at most 255 steps. For a sum s >= 0 the number of steps below it is
(s * high + ((s * low) >> split) + start) >> shift in 32 bits, if only high, low and start are chosen so that all steps
are where they have to be; that is tried out here, step by step. For negative sums the steps are mirrored, all but ties.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.layers import Integers, Rescaling, biases, by_output, rescaling
from mcubench.codegen.program import Step

__all__ = ["Factors", "factors_of"]

_TRIES = (0, 1, -1, 2, -2, 3, -3, 4, -4, 6, -6, 8, -8)  # of a multiplier, beside the nearest
_COMMON = ((14, 21), (14, 22), (15, 21))  # splits and shifts that many layers can have, so that they share functions


@dataclass(frozen=True)
class Factors:
    """How the sums of a layer become codes.

    Attributes:
        words: uint32, shape (outputs, 2): high in the upper half and low in the lower one, and start.
        split: Bits of low.
        shift: Of the whole.
        saturates: Whether a sum may have more than 32 - split bits: then its code is the last.
        rescaling: What is computed so.
    """

    words: NDArray[np.uint32]
    split: int
    shift: int
    saturates: bool
    rescaling: Rescaling

    @property
    def steps(self) -> int:
        """The most steps that are told apart."""
        return self.rescaling.high - self.rescaling.zero_point

    @property
    def rectified(self) -> bool:
        """Whether nothing lies below the code of 0."""
        return self.rescaling.low == self.rescaling.zero_point


def factors_of(step: Step) -> Factors | None:
    """The factors of a layer; ``None`` if there are none of this kind."""
    codes, scaling = by_output(step), rescaling(step)
    if (scaling.exponents > 0).any():
        return None
    offsets = biases(step, codes.sum(1))
    most = np.maximum(-128 * codes, 127 * codes).sum(1) + offsets
    least = np.minimum(-128 * codes, 127 * codes).sum(1) + offsets
    rectified = scaling.low == scaling.zero_point
    reach = np.maximum(most, 0) if rectified else np.maximum(most, -least)
    limits = [_steps(scaling, channel, int(reach[channel]), rectified) for channel in range(len(codes))]
    needed = max((int(min(far, _last(limit))) for far, limit in zip(reach, limits, strict=True)), default=1)
    widest = min(16, 32 - needed.bit_length())
    for split, shift in (*_COMMON, *((widest, shift) for shift in range(24, 7, -1))):
        if not 0 < split <= widest:
            continue
        top = (1 << (32 - split)) - 1
        found = [
            _fitted(scaling, channel, limits[channel], split, shift, min(int(reach[channel]), top))
            for channel in range(len(codes))
        ]
        if all(each is not None for each in found):
            words = np.array(found, np.uint64).astype(np.uint32).reshape(-1, 2)
            return Factors(words, split, shift, bool((reach > top).any()), scaling)
    return None


_Limits = tuple[Integers, Integers]  # for each step, the largest sum before it and the smallest behind it


def _last(limits: _Limits) -> int:
    """The smallest sum behind the last step."""
    return int(limits[1][-1]) if len(limits[1]) else 1


def _steps(scaling: Rescaling, channel: int, reach: int, rectified: bool) -> _Limits:
    """Between which sums each step has to lie; of both signs together, if there are codes below that of 0."""
    multiplier, down = int(scaling.multipliers[channel]), -int(scaling.exponents[channel])
    if multiplier == 0:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    half = (1 << (30 + down)) if down else 0
    sides = [(scaling.high - scaling.zero_point, 1 << 30)]
    if not rectified:
        sides.append((scaling.zero_point - scaling.low, (1 << 30) - 1))  # halves go away from 0 but in the product
    count = max(steps for steps, _ in sides)
    before, behind = [], []
    for step in range(1, count + 1):
        first = [-(((start + half) - (step << (31 + down))) // multiplier) for _, start in sides]
        if min(first) - 1 > reach:
            break
        before.append(min(first) - 1)
        behind.append(max(first))
    return np.array(before, np.int64), np.array(behind, np.int64)


def _fitted(
    scaling: Rescaling, channel: int, limits: _Limits, split: int, shift: int, top: int
) -> tuple[int, int] | None:
    """High with low, and start, that put every step where it has to be."""
    multiplier, down = int(scaling.multipliers[channel]), -int(scaling.exponents[channel])
    if not len(limits[0]):
        return 0, 0
    numbers = np.arange(1, len(limits[0]) + 1, dtype=np.int64) << shift
    exact = split + shift - 31 - down
    nearest = multiplier << exact if exact >= 0 else (multiplier + (1 << (-exact - 1))) >> -exact
    for change in _TRIES:
        factor = nearest + change
        if factor < 0 or factor >> split > 0xFFFF:
            continue
        most = int((numbers - 1 - ((limits[0] * factor) >> split)).min())
        least = max(int((numbers - ((limits[1] * factor) >> split)).max()), 0)
        start = (least + most) // 2
        if least <= most and ((top * factor) >> split) + start < 1 << 32:
            high, low = factor >> split, factor & ((1 << split) - 1)
            return (high << 16) | low, start
    return None
