"""Convolutions in depth over signals, of up to nine taps: four channels at a time, from pairs of columns.

Two outputs beside each other take each pair once: the first with weights (w0, w1), (w2, w3), ..., the second with w0
and (w1, w2), (w3, w4), .... Weights have 16 bits, lifted so that all channels are shifted alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.codegen.armv7em.assembly import add, function, repeated, unrolled
from mcubench.codegen.armv7em.channels import Channels
from mcubench.codegen.armv7em.requantise import Lifted, lifted
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.layers import Positions, biases, positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_CHANNELS = 4
_PAIR = 4 * _CHANNELS  # bytes of two columns
_BLOCK = 32  # outputs that are made together, at most; the fewer, the closer an output may lie to its input
_UNROLLED = 4  # steps that are not in a loop
_FARTHEST = 1023  # bytes that an output lies from the first of a step

_BODY = """
    int32_t first, channel;
    ROLLED
    for (first = 0; first < $across; first += $block)
        ROLLED
        for (channel = 0; channel < $channels; channel += 4) {
            uint32_t *const pairs = (uint32_t *)scratch;
            signal_pairs(x + channel, $channels, $width, $outside, $stride * first - $left, $pairs, pairs);
            $unpack
            $sums(pairs, $weights, y + $channels * first + channel);
        }
"""
_TWIN = """
    int32_t channel, column, i;
    for (channel = 0; channel < 4; channel++, w += $step)
        for (column = 0; column < $across; column++) {
            const int32_t start = $stride * column;
            uint32_t sum = w[$weights];
            for (i = 0; i < $taps; i++) {
                const int32_t at = start + i;
                const uint32_t pair = x[at / 2 * 4 + channel];
                const int32_t weight = i + 1 < $taps ? (i % 2 ? high_half(w[i / 2]) : low_half(w[i / 2])) : $final;
                sum += (uint32_t)((at % 2 ? high_half(pair) : low_half(pair)) * weight);
            }
            y[column * $channels + channel] = $code;
        }
"""


@dataclass(frozen=True)
class _Plan:
    """How such a convolution is computed.

    Attributes:
        found: Its positions.
        channels: Their number.
        codes: How codes are made.
        block: Outputs that are made together.
    """

    found: Positions
    channels: int
    codes: Lifted
    block: int

    @property
    def taps(self) -> int:
        return self.found.window[1]

    @property
    def stride(self) -> int:
        return self.found.stride[1]

    @property
    def words(self) -> int:
        """Words of weights of a channel."""
        half = self.taps // 2
        return 2 * half if self.stride == 1 else half + 1

    @property
    def others(self) -> list[tuple[int, int]]:
        """The pairs of weights for the second of two outputs, or the last weight by itself."""
        if self.stride == 1:
            return [(tap, tap + 1) for tap in range(1, self.taps, 2)]
        return [(self.taps - 1, -1)]

    @property
    def pairs(self) -> int:
        """Pairs of columns that a block needs."""
        return ((self.block - 1) * self.stride + self.taps + 1) // 2


def _plan(step: Step) -> _Plan | None:
    codes, found = weights(step)[0], positions(step)
    channels, taps = step.x.shape[3], codes.shape[1]
    if (
        codes.shape != (1, taps, channels)
        or taps not in (3, 5, 7, 9)
        or channels % _CHANNELS
        or found.size[0] != 1
        or found.count[0] != 1
        or found.before[0]
        or found.stride[1] not in (1, 2)
        or found.step[1] != 1
        or found.pooled != (1, 1)
        or 4 * channels > _FARTHEST
    ):
        return None
    flat = codes.reshape(taps, channels)
    how = lifted(step, 128 * abs(flat).sum(0) + abs(biases(step, flat.sum(0))))
    across = found.count[1]
    block = next((each for each in range(min(_BLOCK, across), 7, -1) if across % each == 0 and each % 2 == 0), across)
    return None if how is None else _Plan(found, channels, how, block)


@EMITTERS.register("DepthwiseConvolve", when=lambda step: _plan(step) is not None)
def signal(step: Step, unit: Unit) -> Function:
    """Blocks of columns outside, groups of channels inside."""
    plan = _plan(step)
    assert plan is not None
    found, channels = plan.found, plan.channels
    unit.use("signal_pairs", "lifted_code")
    half = plan.taps // 2
    own = Channels(step, plan.codes, [(2 * index, 2 * index + 1) for index in range(half)] + plan.others)
    unpack, place = own.written(unit, f"pairs + {4 * plan.pairs}")
    body = fill(
        _BODY,
        across=found.count[1],
        block=plan.block,
        channels=channels,
        width=found.size[1],
        outside=f"0x{(step.x.grid.zero_point & 0xFF) * 0x01010101:08x}u",
        stride=plan.stride,
        left=found.before[1],
        pairs=plan.pairs,
        sums=_sums(plan, unit),
        unpack=unpack,
        weights=place,
    )
    farthest = max(
        (first + plan.block) * channels - max(0, first * plan.stride - found.before[1]) * channels
        for first in range(0, found.count[1], plan.block)
    )
    return Function(body, plan.pairs * _PAIR + own.scratch, max(0, farthest))


def _sums(plan: _Plan, unit: Unit) -> str:
    """A function that takes pairs of columns, weights of four channels, and where their outputs are put."""
    own = [f"r{3 + index}" for index in range(plan.words)]
    together = 2 if plan.stride == 1 else 4
    steps, rest = divmod(plan.block, together)
    each = unrolled(steps, _UNROLLED) if steps else 0
    # On the stack: multiplier, constant, what sums begin with, weights, ends of a row of outputs, of pairs; shift
    lines = ["push {r4-r11, lr}", "sub sp, sp, #28", "str r1, [sp, #12]", f"add r3, r0, #{_PAIR}", "str r3, [sp, #20]"]
    lines += ["1:", "ldr r1, [sp, #12]", f"ldmia r1!, {{r3-r{2 + plan.words}}}", "ldmia r1!, {r11, r12, lr}"]
    lines += ["str r11, [sp, #8]", "strd r12, lr, [sp]"]
    lines += [] if plan.codes.shift is not None else ["ldr lr, [r1], #4", "str lr, [sp, #24]"]
    lines += ["str r1, [sp, #12]"]
    if steps > each:
        lines += ["mov r12, r2", *add("r12", steps * together * plan.channels, "r11"), "str r12, [sp, #16]", "2:"]
    lines += repeated(each, _products(plan, own, together))
    if steps > each:
        lines += ["ldr r1, [sp, #16]", "cmp r2, r1", "bne 2b"]
    moved = steps * together * plan.stride // 2 * _PAIR
    if rest:
        lines += _products(plan, own, rest)
        moved += rest * plan.stride // 2 * _PAIR
    lines += add("r0", 4 - moved, "r3")
    lines += add("r2", 1 - plan.block * plan.channels, "r3")
    lines += ["ldr r1, [sp, #20]", "cmp r0, r1", "bne 1b", "add sp, sp, #28", "pop {r4-r11, pc}"]
    half = plan.taps // 2
    twin = fill(
        _TWIN,
        across=plan.block,
        step=plan.words + 1 + plan.codes.words.shape[1],
        stride=plan.stride,
        weights=plan.words,
        taps=plan.taps,
        final=f"high_half(w[{2 * half - 1}])" if plan.stride == 1 else f"low_half(w[{half}])",
        channels=plan.channels,
        code=plan.codes.code_c("as_signed(sum)", f"w + {plan.words + 1}"),
    )
    comment = (
        f"Four channels of {plan.block} outputs of {plan.taps} taps. "
        f"r0: x, r2: y, r3..{own[-1]}: weights, up to r12: sums, r1, lr: codes; multiplier, constant"
    )
    return function(unit, "signal", "const uint32_t *x, const uint32_t *w, int8_t *y", comment, lines, twin)


def _products(plan: _Plan, own: list[str], outputs: int) -> list[str]:
    """Outputs side by side."""
    sums = ["r11", "r12"][:outputs] if plan.stride == 1 else ["r8", "r9", "r10", "r11"][:outputs]
    half, begin = plan.taps // 2, sums[-1]
    on = outputs * plan.stride // 2 * _PAIR
    lines = [f"ldr {begin}, [sp, #8]"]
    last = half if plan.stride == 1 else half + outputs - 1
    for pair in range(last + 1):
        code = "r1" if pair % 2 else "lr"
        where = f"[r0], #{on}" if pair == 0 else f"[r0, #{pair * _PAIR - on}]"
        lines += [f"ldr {code}, {where}"]
        if plan.stride == 1:
            lines += _beside(own, half, pair, code, sums, begin)
            continue
        for index, each in enumerate(sums):
            tap = pair - index
            if 0 <= tap <= half:
                name = "smlad" if tap < half else "smlabb"
                lines += [f"{name} {each}, {own[tap]}, {code}, {begin if tap == 0 else each}"]
    lines += ["ldrd r1, lr, [sp]"]
    lines += plan.codes.lines(sums, "r1", "lr", ("ldr r1, [sp, #24]", "r1"))
    lines += [f"strb {each}, [r2, #{plan.channels * index}]" for index, each in enumerate(sums) if index]
    lines += [f"strb {sums[0]}, [r2]", *add("r2", outputs * plan.channels, "r1")]
    if outputs * plan.channels < 1 << 8:
        lines[-2:] = [f"strb {sums[0]}, [r2], #{outputs * plan.channels}"]
    return lines


def _beside(own: list[str], half: int, pair: int, code: str, sums: list[str], begin: str) -> list[str]:
    """Products of a pair of columns for an output, and for the one beside it, if there is one."""
    first, second = sums[0], sums[-1]
    if pair == 0:
        lines = [f"smlad {first}, {own[0]}, {code}, {begin}", f"smlabt {second}, {own[0]}, {code}, {begin}"]
    elif pair < half:
        lines = [f"smlad {first}, {own[pair]}, {code}, {first}"]
        lines += [f"smlad {second}, {own[half + pair - 1]}, {code}, {second}"]
    else:
        lines = [f"smlatb {first}, {own[-1]}, {code}, {first}", f"smlad {second}, {own[-1]}, {code}, {second}"]
    return lines if len(sums) > 1 else lines[:1]
