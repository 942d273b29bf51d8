"""Products of each code of a vector with the weights that some outputs have for it.

Weights lie side by side, lifted to be positive, several in what is loaded at once, and none of them is masked: shifted
right by some of them, it is multiplied as it is. What those above add to a sum is taken off when all is summed, modulo
2^32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.armv6m.assembly import Assembly, function
from mcubench.codegen.layers import Integers
from mcubench.codegen.text import fill

__all__ = ["RowKernel"]

_SUMS = ("r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr")
_WIDE = 8  # outputs whose weights, of 8 bits, are loaded as two words
_BYTES = 32  # that loads reach from one pointer
_COMMENT = """
/* Sums of $count outputs, $bits bits a weight, $each of them in $held.
   r0 x, r1 weights, $code a code, $holders weights,$other $first to $last sums; on the stack: sums, end of whole blocks
   of x, end of x */
"""
_TWIN = """
    uint32_t found[$slots] = { 0 };
    int32_t tap, i;
    for (tap = 0; tap < taps; tap++)
        for (i = 0; i < $slots; i++)
            found[i] += (uint32_t)x[tap] * ((uint32_t)w[$loads * tap + i / $each] >> ($bits * (i % $each)));
    for (i = 0; i < $count; i++)
        sums[i] = (int32_t)(found[i] - (i % $each < $each - 1 ? found[i + 1] << $bits : 0u));
"""


@dataclass(frozen=True)
class RowKernel:
    """A function for some outputs.

    Attributes:
        count: How many: at most 10, with less than 8 bits 8.
        bits: Of a weight.
        block: Codes between two looks at the end, a power of 2.
    """

    count: int
    bits: int
    block: int

    @staticmethod
    def counts(outputs: int, bits: int) -> list[int]:
        """Outputs of each pass over a vector."""
        if bits == 8:
            rest = outputs % _WIDE
            last = rest + _WIDE if rest <= 2 and outputs >= _WIDE + rest and rest else rest
            return [_WIDE] * ((outputs - last) // _WIDE) + [last] * bool(last)
        each = 8 // bits
        bytes_, passes = -(-outputs // each), -(-outputs // 8)  # of a code; what can be summed at once: 8 outputs
        size = -(-bytes_ // passes) * each
        return [min(size, outputs - first) for first in range(0, outputs, size)]

    @property
    def wide(self) -> bool:
        """Whether weights are loaded as words."""
        return self.bits == 8 and self.count == _WIDE

    @property
    def ctype(self) -> str:
        """What is loaded at once."""
        return "uint32_t" if self.wide else "uint8_t"

    @property
    def each(self) -> int:
        """Weights in it."""
        return (32 if self.wide else 8) // self.bits

    @property
    def loads(self) -> int:
        """How often that is for a code."""
        return -(-self.count // self.each)

    def stored(self, codes: Integers) -> NDArray[np.int64]:
        """What is loaded, in its order.

        Args:
            codes: Weights, shape (outputs, taps).
        """
        each = self.each
        lifted = np.pad(codes + (1 << (self.bits - 1)), ((0, -len(codes) % each), (0, 0)))
        places = lifted.reshape(-1, each, codes.shape[1]) << (self.bits * np.arange(each))[None, :, None]
        found: NDArray[np.int64] = places.sum(1).T
        return found

    @property
    def text(self) -> str:
        """Its definition."""
        values: dict[str, object] = {
            **vars(self),
            "each": self.each,
            "loads": self.loads,
            "slots": self.loads * self.each,
            "held": "a word" if self.wide else "a byte",
            "code": self._code,
            "holders": " and ".join(self._holders),
            "other": "" if self.each == 1 else f" {self._shifted} those shifted,",
            "first": self._sums[0],
            "last": self._sums[-1],
        }
        signature = f"void $name(const int8_t *x, const {self.ctype} *w, int32_t *sums, int32_t taps)"
        return function(signature, fill(_COMMENT, **values).strip(), self._assembly(), fill(_TWIN, **values))

    @property
    def _code(self) -> str:
        return "r2" if self.wide else "r3"

    @property
    def _holders(self) -> tuple[str, ...]:
        return ("r3", "r4") if self.wide else ("r2",)

    @property
    def _shifted(self) -> str:
        return "r5" if self.wide else "r4"

    @property
    def _sums(self) -> tuple[str, ...]:
        first = 2 if self.wide else 0 if self.each == 1 else 1
        return _SUMS[first : first + self.loads * self.each]

    def _assembly(self) -> Assembly:
        into, power = Assembly(), self.block.bit_length() - 1
        into.do("push {r4-r7, lr}", "mov r4, r8", "mov r5, r9", "mov r6, r10", "mov r7, r11", "push {r4-r7}")
        into.do("adds r4, r0, r3", f"lsrs r3, r3, #{power}", f"lsls r3, r3, #{power}", "adds r3, r0, r3")
        into.do("push {r2-r4}", "movs r2, #0", *(f"mov {each}, r2" for each in self._sums))
        self._repeated(into, self.block, 4)
        self._repeated(into, 1, 8)
        into.do("pop {r0-r2}")
        for index in range(self.count):
            into.do(f"mov r2, {self._sums[index]}")
            if index % self.each < self.each - 1:
                into.do(f"mov r3, {self._sums[index + 1]}", f"lsls r3, r3, #{self.bits}", "subs r2, r2, r3")
            into.do(f"str r2, [r0, #{4 * index}]")
        into.do("pop {r4-r7}", "mov r8, r4", "mov r9, r5", "mov r10, r6", "mov r11, r7", "pop {r4-r7, pc}")
        return into

    def _repeated(self, into: Assembly, taps: int, end: int) -> None:
        """Products of so many codes, until x is where the stack says."""
        loop, done, more = into.label(), into.label(), into.label()
        into.place(loop)
        into.do(f"ldr r3, [sp, #{end}]", "cmp r0, r3", into.to("bne", more), into.to("b", done))
        into.place(more)
        passed = 0
        for tap in range(taps):
            at = self.loads * tap
            if at + self.loads - passed > _BYTES and not self.wide:
                into.do(f"adds r1, #{at - passed}")
                passed = at
            self._tap(into, tap, at - passed)
        if not self.wide:
            into.do(f"adds r1, #{self.loads * taps - passed}")
        into.do(f"adds r0, #{taps}", into.to("b", loop))
        into.place(done)

    def _tap(self, into: Assembly, tap: int, at: int) -> None:
        """Products of one code."""
        code, shifted = self._code, self._shifted
        into.do(f"ldrb {code}, [r0, #{tap}]", f"sxtb {code}, {code}")
        if self.wide:
            into.do("ldmia r1!, {r3, r4}")
        for load in range(self.loads):
            holder = self._holders[load if self.wide else 0]
            if not self.wide:
                into.do(f"ldrb {holder}, [r1, #{at + load}]")
            for place in range(self.each - 1, 0, -1):
                total = self._sums[load * self.each + place]
                into.do(f"lsrs {shifted}, {holder}, #{self.bits * place}", f"muls {shifted}, {code}, {shifted}")
                into.do(_added(total, shifted))
            into.do(f"muls {holder}, {code}, {holder}", _added(self._sums[load * self.each], holder))


def _added(total: str, product: str) -> str:
    low = total in ("r4", "r5", "r6", "r7")
    return f"adds {total}, {total}, {product}" if low else f"add {total}, {product}"
