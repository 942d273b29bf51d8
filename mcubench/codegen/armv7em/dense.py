"""Dense layers: codes are widened some at a time, and the sums of all outputs stay in memory in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mcubench.codegen.armv7em.assembly import SAVED, function, listed, number, repeated
from mcubench.codegen.armv7em.groups import TAPS, Group, code_words
from mcubench.codegen.armv7em.narrow import mask, unpacked_c
from mcubench.codegen.armv7em.pairs import joined_sums
from mcubench.codegen.armv7em.requantise import PairCodes, pair_codes
from mcubench.codegen.armv7em.sums import kept_codes
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.layers import Integers, biases, bounds_of, positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__ = ["Blocks", "is_dense"]

_GROUPS = 33  # of a chunk, at most; sums of so many taps have room where they are
_FEW_GROUPS = 6  # the same for small layers, for which short code counts more
_NARROW_GROUPS = 20  # at most with weights that have to be unpacked, which takes more code
_SMALL = 1 << 14  # weights
_SPARE = 0.08  # of the weights: how much more of them may be stored so that less is unpacked

_BODY = """
    uint32_t *const wide = (uint32_t *)scratch;
    int32_t *const largest = scratch + $wide;
    int32_t row, done$names;
    ROLLED
    for (row = 0; row < $rows; row++, x += $taps, y += $outputs) {
        const int32_t *from = (const int32_t *)(const void *)$start;
        const uint32_t *w = $weights;
$zero        ROLLED
        for (done = 0; done < $taps; done += $chunk) {
            const int32_t now = $taps - done < $chunk ? $taps - done : $chunk;
            widened(x + done, wide, now);
$calls
            from = largest;
$total        }
$totals        $codes
    }
"""
_TOTALS = """
        ROLLED
        for (i = $first; i < $slots; i += $by)
            largest[i] -= $lifted * total;
"""
_TWIN = """
    int32_t block, i, p;
    for (block = 0; block < $blocks; block++, sums += $each, from += $each) {
        uint32_t both[$pairs], second[$pairs];
        for (p = 0; p < $pairs; p++)
            both[p] = $fold ? 0u : (uint32_t)from[2 * p], second[p] = $fold ? 0u : (uint32_t)from[2 * p + 1];
        for (i = 0; i < 4 * groups; i++) {
$words
        }
        for (p = 0; p < $pairs; p++) {
            const int32_t first = as_signed(both[p] - second[p]) >> (8 + $spare);
            sums[2 * p] = $fold ? (int32_t)((uint32_t)from[2 * p] + (uint32_t)first) : as_signed(both[p]);
            sums[2 * p + 1] =
                $fold ? from[2 * p + 1] + (as_signed(second[p]) >> $spare) : as_signed(second[p]);
        }
    }
    return w;
"""
_TWIN_WORDS = """
            const int32_t stored = i >= 4 * (groups - $expanded);
            for (p = 0; p < $pairs; p++) {
                both[p] = products(w[p], x[i], both[p]);
                second[p] = products(stored ? w[p + 4] : even_bytes(w[p]), x[i], second[p]);
            }
            w += stored && i % $turn == $turn - 1 ? $pairs + 4 : $pairs;
"""
_TWIN_UNPACKED = """
            for (p = 0; p < $pairs; p++) {
                const uint32_t word = $word;
                both[p] = products(word, x[i], both[p]);
                second[p] = products(word & 0x00ff00ffu, x[i], second[p]);
            }
            w += i % 4 == 3 ? $step : 0;
"""


@dataclass(frozen=True)
class Blocks:
    """The sums of blocks of outputs over a chunk of taps, added to what is there.

    Attributes:
        pairs: Pairs of outputs in a block, 1 or 2.
        blocks: Their number.
        groups: Of eight taps in a chunk, at most.
        expanded: How many of them, the last ones, have the second outputs' weights beside those of both.
        fold: Whether sums in memory are those of each output; otherwise they are those of the words.
        bits: Of a weight.
    """

    pairs: int
    blocks: int
    groups: int
    expanded: int
    fold: bool
    bits: int

    def function(self, unit: Unit) -> str:
        """The name of the function, which returns where the weights of the next one are."""
        unit.use("dsp")
        comment = (
            f"{self.blocks} blocks of {2 * self.pairs} outputs over up to {self.groups} groups of {TAPS} taps: "
            f"it jumps into them. r0: x, r1: w, r2..r5: sums, r6..r9: weights, r10..lr: codes"
        )
        stored = self.bits // 2  # words of a pair in a group
        words = fill(
            _TWIN_WORDS if self.bits == 8 else _TWIN_UNPACKED,
            pairs=self.pairs,
            expanded=self.expanded,
            turn=4 // self.pairs,
            word=unpacked_c(f"(w + {stored} * p)", "(i % 4)", self.bits) if self.bits < 8 else "",
            step=stored * self.pairs,
        )
        twin = fill(
            _TWIN,
            blocks=self.blocks,
            each=2 * self.pairs,
            pairs=self.pairs,
            fold=int(self.fold),
            spare=8 - self.bits,
            words=words.rstrip("\n"),
        )
        parameters = "const uint32_t *x, const uint32_t *w, int32_t *sums, const int32_t *from, int32_t groups"
        return function(unit, "blocks", parameters, comment, self._lines(), twin, "const uint32_t *")

    def words(self, codes: Integers) -> Integers:
        """The weights in the order in which they are read.

        Args:
            codes: Shape (outputs of all blocks, words of a chunk, 2).
        """
        own = self._group.stored(codes)
        if not self.expanded:
            return own
        by_word = own.reshape(self.blocks, -1, 4)  # (block, load, word)
        first = by_word.shape[1] - self.expanded * self.pairs
        plain, stored = by_word[:, :first], by_word[:, first:]
        low, high = (stored & 0xFF ^ 0x80) - 0x80, (stored >> 16 & 0xFF ^ 0x80) - 0x80
        second = low & 0xFFFF | (high & 0xFFFF) << 16
        both = np.stack([stored, second], 2)
        return np.concatenate([plain.reshape(self.blocks, -1), both.reshape(self.blocks, -1)], 1)

    @property
    def _group(self) -> Group:
        return Group(self.pairs, self.bits)

    def _lines(self) -> list[str]:
        group, sums = self._group, self._group.sums
        bytes_ = 4 * len(group.lines())
        # On the stack: sums, their end, how far `from` is from them, where groups begin, x
        lines = ["push {r4-r11, lr}", "sub sp, sp, #20", "sub r3, r3, r2", "str r2, [sp]"]
        lines += [*number("r4", 8 * self.pairs * self.blocks), "add r4, r4, r2", f"ldr r5, [sp, #{20 + SAVED}]"]
        lines += ["adr r6, 2f", "add r6, r6, #1", *number("r7", bytes_)]
        lines += [f"rsb r5, r5, #{self.groups}", "mla r5, r5, r7, r6", "str r4, [sp, #4]", "str r3, [sp, #8]"]
        lines += ["str r5, [sp, #12]", "str r0, [sp, #16]", "mov r6, r2", "1:"]
        if self.fold:
            lines += [f"mov {each}, #0" for each in sums]
        else:
            lines += ["ldr r8, [sp, #8]", "add r8, r8, r6", f"ldm r8, {listed(sums)}"]
        if self.bits < 8:
            lines += [f"mov r9, #0x{mask(self.bits):08x}"]
        lines += ["ldr pc, [sp, #12]", ".balign 4", "2:"]
        lines += repeated(self.groups - self.expanded, group.lines())
        lines += repeated(self.expanded, group.lines(stored=True))
        lines += ["ldrd r6, r7, [sp]"]
        if self.fold:
            spare, kept = 8 - self.bits, ["r8", "r9", "r10", "r11"]
            kept = kept[: 2 * self.pairs]
            lines += ["ldr r12, [sp, #8]", "add r12, r12, r6", f"ldm r12, {listed(kept)}"]
            for pair in range(self.pairs):
                (a, b), (first, second) = sums[2 * pair : 2 * pair + 2], kept[2 * pair : 2 * pair + 2]
                lines += [f"sub {a}, {a}, {b}", f"add {first}, {first}, {a}, asr #{8 + spare}"]
                lines += [f"add {second}, {second}, {b}" + (f", asr #{spare}" if spare else "")]
            sums = kept
        lines += [f"stmia r6!, {listed(sums)}"]
        if self.blocks > 1:
            lines += ["ldr r0, [sp, #16]", "str r6, [sp]", "cmp r6, r7", "bne 1b"]
        return [*lines, "mov r0, r1", "add sp, sp, #20", "pop {r4-r11, pc}"]


@dataclass(frozen=True)
class _Plan:
    """How a dense layer is computed: its codes, and whether sums in memory are folded."""

    codes: PairCodes
    fold: bool


def _plan(step: Step) -> _Plan | None:
    if step.kind == "Convolve":
        found = positions(step)
        if found.count != (1, 1) or not found.joined or step.pool or weights(step).shape[3] != step.x.shape[3]:
            return None
    codes = weights(step)
    codes = codes.reshape(len(codes), -1)
    bounds = bounds_of(codes, biases(step, codes.sum(1)))
    spare = 8 - step.kernel.filter.bits  # type: ignore[attr-defined]
    for fold in (False, True):
        if (how := pair_codes(step, bounds, _order(len(codes)), whole=fold, spare=spare)) is not None:
            return _Plan(how, fold)
    return None


def is_dense(step: Step) -> bool:
    """Whether all outputs are sums over all of the input, or of each of its rows, and can be computed here."""
    return _plan(step) is not None


def _order(outputs: int) -> Integers:
    """Outputs in pairs, the last one as often as it takes."""
    return np.minimum(np.arange(-(-outputs // 2) * 2), outputs - 1)


@EMITTERS.register("FullyConnected", "Convolve", when=is_dense)
def dense(step: Step, unit: Unit) -> Function:
    """Four outputs at a time, and the last two or one."""
    plan = _plan(step)
    assert plan is not None
    bits = step.kernel.filter.bits  # type: ignore[attr-defined]
    codes = weights(step).reshape(step.output.shape[-1], -1)
    outputs, taps = codes.shape
    sums = biases(step, codes.sum(1))
    order = _order(outputs)
    fours, twos = divmod(len(order) // 2, 2)
    groups = -(-taps // TAPS)
    most = _FEW_GROUPS if codes.size <= _SMALL else _GROUPS if bits == 8 else _NARROW_GROUPS
    chunks = -(-groups // most)
    most = -(-groups // chunks)
    expanded = 0 if bits < 8 else min(int(_SPARE * groups * TAPS / (chunks * TAPS)), groups - (chunks - 1) * most)
    kinds = [Blocks(pairs, count, most, expanded, plan.fold, bits) for pairs, count in ((2, fours), (1, twos)) if count]
    pairs = code_words(codes[order], groups * TAPS)
    stream = []
    for start in range(0, groups, most):
        now = pairs[:, 4 * start : 4 * (start + most)]
        stream += [kinds[0].words(now[: 4 * fours]).ravel()] if fours else []
        stream += [kinds[-1].words(now[4 * fours :]).ravel()] if twos else []
    begin = sums[order] if plan.fold else joined_sums(sums[order], bits)
    calls, at = "", 0
    for kind in kinds:
        name = kind.function(unit)
        calls += f"            w = {name}(wide, w, largest + {at}, from + {at}, (now + {TAPS - 1}) / {TAPS});\n"
        at += 2 * kind.pairs * kind.blocks
    unit.use("widened")
    wide = most * TAPS // 2
    narrow = {"names": "", "zero": "", "total": "", "totals": ""}
    if bits < 8:  # second outputs' weights are lifted, and both sums in memory hold them unless folded
        unit.use("words_total")
        each = {"first": 1, "by": 2, "lifted": 1 << (bits - 1)} if plan.fold else {"first": 0, "by": 1, "lifted": 128}
        narrow = {
            "names": ", total, i",
            "zero": "        total = 0;\n",
            "total": f"            total += words_total(wide, (now + {TAPS - 1}) / {TAPS} * 4);\n",
            "totals": fill(_TOTALS, slots=at, **each),
        }
    body = fill(
        _BODY,
        wide=wide,
        rows=step.output.size // outputs,
        taps=taps,
        outputs=outputs,
        start=unit.array("uint32_t", begin & 0xFFFFFFFF, "start"),
        weights=unit.array("uint32_t", np.concatenate(stream), "weights"),
        chunk=most * TAPS,
        calls=calls.rstrip("\n"),
        **narrow,
        codes=kept_codes(unit, plan.codes, outputs, difference=not plan.fold),
    )
    return Function(body, 4 * (wide + at))
