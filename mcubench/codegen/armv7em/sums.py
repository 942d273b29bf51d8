"""Codes of sums that lie in memory."""

from __future__ import annotations

from mcubench.codegen.armv7em.assembly import function
from mcubench.codegen.armv7em.requantise import PairCodes
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Unit

__all__ = ["kept_codes"]

_TWIN = """
    for (; count > 0; count -= 2, sums += 2, words += 6, y += 2) {
        const int32_t b = sums[1], a = $a;
        y[0] = $first;
        if (count > 1)
            y[1] = $second;
    }
"""


def kept_codes(unit: Unit, codes: PairCodes, outputs: int, difference: bool) -> str:
    """A statement that makes codes of sums at `largest`, of two outputs at a time.

    Args:
        unit: Where it is written.
        codes: How they are made.
        outputs: How many.
        difference: Whether the first sum of each pair is 256 times the first output's and the second's, or without.
    """
    lines = ["push {r4-r11, lr}", "1:", "ldmia r0!, {r4, r5}", "ldmia r1!, {r6-r11}"]
    if difference:
        lines += ["sub r4, r4, r5"]
    lines += codes.first_lines("r4", "r6", "r7", "r8", "r12")
    lines += codes.second_lines("r5", "r9", "r10", "r11", "r12")
    lines += ["strb r4, [r2], #1", "subs r3, r3, #2", "it pl", "strbpl r5, [r2], #1", "bgt 1b", "pop {r4-r11, pc}"]
    twin = fill(
        _TWIN,
        a="(int32_t)((uint32_t)sums[0] - (uint32_t)b)" if difference else "sums[0]",
        first=codes.first_c("a", "words"),
        second=codes.second_c("b", "(words + 3)"),
    )
    name = function(
        unit,
        "codes",
        "const int32_t *sums, const uint32_t *words, int8_t *y, int32_t count",
        "Codes of pairs of sums. r0: sums, r1: words, r2: y, r3: count, r4, r5: sums, r6..r11: how, r12: spare",
        lines,
        twin,
    )
    unit.use("lifted_code")
    words = unit.array("uint32_t", codes.words, "factors")
    return f"{name}(largest, {words}, y, {outputs});"
