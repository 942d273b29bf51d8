"""Sums of gates brought to 16 bits, by products with the bytes of a multiplier, each of which fits into a word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.armv6m.assembly import Assembly, function
from mcubench.codegen.layers import bounds_of
from mcubench.codegen.recurrent import Product

__all__ = ["brought", "fits", "stored"]

_BYTES = 5  # of a row: of its multiplier, and how far what is rounded once is shifted
_COMMENT = """
/* Sums of rows with what they start with, less what lifted weights add to all, in 16 bits. A floor of floors is the
   floor of the whole. r0 sums, r1 starts, r2 lift, r3 bytes, r4 sum, r5 product, r7 gates, r12 their end */
"""
_TWIN = """
    for (; count > 0; count--, sums++, starts++, gates++, bytes += 5) {
        const int32_t sum = *sums - lift + *starts;
        int32_t found = ((sum * bytes[0] >> 8) + sum * bytes[1]) >> 8;
        found = (((found + sum * bytes[2]) >> 8) + sum * bytes[3] + 64) >> 7;
        if (bytes[4])
            found = (((found + (found >> 31)) >> (bytes[4] - 1)) + 1) >> 1;
        *gates = (int16_t)(found > 32767 ? 32767 : found < -32768 ? -32768 : found);
    }
"""


def fits(product: Product) -> bool:
    """Whether all factors are below 2, and sums below what a byte leaves room for."""
    small = bounds_of(product.codes, product.starts).max() < 1 << 23
    return bool(small and (product.factors.exponents <= 1).all())


def stored(product: Product, units: int) -> NDArray[np.int64]:
    """The bytes of the rows of so many units."""
    exponents = product.factors.exponents
    multipliers = product.factors.multipliers << np.maximum(exponents, 0)
    parts = [multipliers >> 8 * place & 0xFF for place in range(4)]
    return np.tile(np.stack([*parts, np.maximum(-exponents, 0)], 1), (units, 1))


def brought() -> str:
    """The function's definition."""
    signature = (
        "void $name(const int32_t *sums, const int32_t *starts, int32_t lift, const uint8_t *bytes, "
        "int16_t *gates, int32_t count)"
    )
    into = Assembly()
    into.do("push {r4-r7, lr}", "ldr r7, [sp, #20]", "ldr r4, [sp, #24]", "lsls r4, r4, #1", "adds r4, r4, r7")
    into.do("mov r12, r4")
    loop, once, store = into.label(), into.label(), into.label()
    into.place(loop)
    into.do("ldmia r0!, {r4}", "ldmia r1!, {r5}", "adds r4, r4, r5", "subs r4, r4, r2")
    into.do("ldrb r5, [r3, #0]", "muls r5, r4, r5", "asrs r5, r5, #8")
    for place in (1, 2):
        into.do(f"ldrb r6, [r3, #{place}]", "muls r6, r4, r6", "adds r5, r5, r6", "asrs r5, r5, #8")
    into.do("ldrb r6, [r3, #3]", "muls r6, r4, r6", "adds r5, r5, r6", "adds r5, #64", "asrs r5, r5, #7")
    into.do("ldrb r6, [r3, #4]", f"adds r3, #{_BYTES}", "subs r6, #1", into.to("bmi", once))
    into.do("asrs r4, r5, #31", "adds r5, r5, r4", why="halves away from 0")
    into.do("asrs r5, r6", "adds r5, #1", "asrs r5, r5, #1")
    into.place(once)
    into.do("sxth r6, r5", "cmp r6, r5", into.to("beq", store))
    into.do("asrs r5, r5, #31", "movs r6, #128", "lsls r6, r6, #8", "subs r6, #1", "eors r5, r6")
    into.place(store)
    into.do("strh r5, [r7]", "adds r7, #2", "cmp r7, r12", into.to("bne", loop))
    into.do("pop {r4-r7, pc}")
    return function(signature, _COMMENT.strip(), into, _TWIN)
