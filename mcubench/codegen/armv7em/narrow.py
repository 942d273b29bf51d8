"""Weights of 4 and 2 bits, two outputs in a product as with 8: unpacked by one AND each, in the upper bits of bytes.

A byte has its first weight in its upper bits, so that a word shifted left and masked is a word of `pairs`, with weights
that are 16 or 64 times as large. The lower byte of a half has no sign there: second outputs' weights are lifted to be
positive, and what that adds, 128 times the sum of codes, is taken off: by a word of that sum behind those of a window.
"""

from __future__ import annotations

import numpy as np

from mcubench.codegen.armv7em.assembly import function, listed, repeated, unrolled
from mcubench.codegen.layers import Integers
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Unit

__all__ = ["TOTAL_WEIGHTS", "mask", "packed_pairs", "totals", "unpacked", "unpacked_c"]

TOTAL_WEIGHTS = 0x8000FF80  # -128 for the lower byte of a sum of codes, and -128 * 256 for what is above it

_TWIN = """
    int32_t i, p;
    for (p = 0; p < $positions; p++) {
        uint32_t sum = 0;
        for (i = 0; i < $words; i++)
            sum = products(words[i * $positions + p], 0x00010001u, sum);
        words[$words * $positions + p] = halves((int32_t)(sum & 0xFFu), as_signed(sum) >> 8);
    }
"""


def mask(bits: int) -> int:
    """The upper bits of all bytes."""
    return ((1 << bits) - 1 << (8 - bits)) * 0x01010101


def packed_pairs(codes: Integers, bits: int) -> Integers:
    """Words of two outputs' weights: from (2 n, words, 2) to uint32 (n, words / (8 / bits)), filled up with zeros.

    Args:
        codes: The weights.
        bits: Of each.
    """
    each = 8 // bits
    full = np.pad(codes, ((0, 0), (0, -codes.shape[1] % each), (0, 0)))
    fields = (1 << bits) - 1
    first = (full[::2] & fields) << 8
    second = (full[1::2] + (1 << (bits - 1))) & fields
    halves = first | second
    words = (halves[..., 0] | halves[..., 1] << 16).reshape(len(halves), -1, each)
    turned = words << (8 - bits - bits * np.arange(each))
    packed: Integers = turned.sum(2)
    return packed


def unpacked(to: str, packed: str, mask_: str, index: int, bits: int) -> str:
    """The instruction that unpacks one of a word's words."""
    shift = f", lsl #{bits * index}" if index else ""
    return f"and {to}, {mask_}, {packed}{shift}"


def unpacked_c(words: str, index: str, bits: int) -> str:
    """The word of that index in C."""
    each = 8 // bits
    return f"({words}[{index} / {each}] << ({bits} * ({index} % {each})) & 0x{mask(bits):08x}u)"


def totals(unit: Unit, words: int, positions: int) -> str:
    """The name of a function that puts the sums of windows' codes behind their words."""
    sums, codes = [["r2", "r3", "r4"][:positions], ["r6", "r7", "r8", "r9", "r10", "r11"][:positions]]
    each = unrolled(words, 8)
    lines = [
        "push {r4-r11, lr}",
        *(f"mov {sum_}, #0" for sum_ in sums),
        "mov r5, #0x00010001",
        f"movw r12, #{words // each}",
    ]
    word = [f"ldmia r0!, {listed(codes)}" if positions > 1 else f"ldr {codes[0]}, [r0], #4"]
    word += [f"smlad {sum_}, {code}, r5, {sum_}" for sum_, code in zip(sums, codes, strict=True)]
    lines += ["1:", *repeated(each, word)]
    lines += ["subs r12, r12, #1", "bne 1b"]
    for sum_, code in zip(sums, codes, strict=True):
        lines += [f"uxtb {code}, {sum_}", f"asr {sum_}, {sum_}, #8", f"pkhbt {code}, {code}, {sum_}, lsl #16"]
    lines += [f"stmia r0!, {listed(codes)}" if positions > 1 else f"str {codes[0]}, [r0]", "pop {r4-r11, pc}"]
    comment = (
        f"Sums of {words} words of codes at {positions} positions, put behind them: a byte, and what is above it. "
        "r0: words, r2..: sums, r5: ones, r6..: codes, r12: count"
    )
    twin = fill(_TWIN, words=words, positions=positions)
    return function(unit, "totals", "uint32_t *words", comment, lines, twin)
