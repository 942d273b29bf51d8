"""Convolutions of 3 x 3 of each channel by itself: four channels at a time, two rows of outputs together.

Four rows of a column are two words of each channel, the upper two rows and the lower two. With the weights of a column
as pairs (w0, w1) and (w1, w2), both outputs below each other take two products: of a whole word, and of a half of the
other. Weights have 16 bits, lifted so that all channels are shifted alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from mcubench.codegen.armv7em.assembly import add, function, number, repeated, unrolled
from mcubench.codegen.armv7em.channels import Channels
from mcubench.codegen.armv7em.requantise import Lifted, lifted
from mcubench.codegen.armv7em.table import EMITTERS
from mcubench.codegen.layers import Positions, biases, positions, weights
from mcubench.codegen.program import Step
from mcubench.codegen.text import fill
from mcubench.codegen.unit import Function, Unit

__all__: list[str] = []

_CHANNELS = 4  # a load of codes
_COLUMN = 8 * 4  # bytes of a column of so many
_FARTHEST = 4095  # bytes that a load reaches
_WIDEST = 8  # stride whose columns a load of two words reaches
_UNROLLED = 8  # pairs of columns that are not in a loop

_BODY = """
    uint32_t *const columns = (uint32_t *)scratch;
    int32_t row, channel;
    fill_words(columns, $outside, $left_words);
    fill_words(columns + $right_start, $outside, $right_words);
    ROLLED
    for (row = 0; row < $down; row += $tall) {
        const int32_t first = row < $last ? row : $last;
        ROLLED
        for (channel = 0; channel < $channels; channel += 4) {
            const int8_t *const from = x + ($stride * first - $top) * $row_bytes + channel;
$gather
            $unpack
            $sums(columns, $weights, y + first * $output_row + channel);
        }
    }
"""
_GATHER_TWIN = """
    int32_t column, row, channel;
    for (column = 0; column < $columns; column++, x += $channels, into += 8)
        for (channel = 0; channel < 4; channel++) {
            int32_t codes[4];
            for (row = 0; row < 4; row++)
                codes[row] = row < $first || row >= $end ? $outside : x[$stride * row + channel];
            into[2 * channel] = halves(codes[0], codes[1]), into[2 * channel + 1] = halves(codes[2], codes[3]);
        }
"""
_TWIN = """
    int32_t channel, column, i;
    for (channel = 0; channel < 4; channel++, w += $step)
        for (column = 0; column < $across; column++) {
            uint32_t upper = w[6], lower = w[6];
            for (i = 0; i < 3; i++) {
                const uint32_t *const codes = x + ($stride * column + i) * 8 + 2 * channel;
                upper = products(w[2 * i], codes[0], upper);
                upper += (uint32_t)(high_half(w[2 * i + 1]) * low_half(codes[1]));
                lower = products(w[2 * i + 1], codes[1], lower);
                lower += (uint32_t)(low_half(w[2 * i]) * high_half(codes[0]));
            }
            y[column * $channels + channel] = $upper;
            if ($tall == 2)
                y[column * $channels + channel + $row] = $lower;
        }
"""


@dataclass(frozen=True)
class _Plan:
    """How a convolution in depth is computed.

    Attributes:
        found: Its positions.
        channels: Their number.
        codes: How codes are made.
        passes: Of each pass over the rows, the first row of outputs, and the rows of four that lie inside, from and to.
    """

    found: Positions
    channels: int
    codes: Lifted
    passes: tuple[tuple[int, tuple[int, int]], ...]

    @property
    def tall(self) -> int:
        """Rows of outputs in a pass."""
        return _tall(self.found)

    @property
    def columns(self) -> int:
        """Columns that windows reach over."""
        return (self.found.count[1] - 1) * self.found.stride[1] + 3

    @property
    def inside(self) -> int:
        """How many of them are of the input."""
        return min(self.found.size[1], self.columns - self.found.before[1])


def _tall(found: Positions) -> int:
    return 2 if found.stride[0] == 1 and found.count[0] > 1 else 1


def _plan(step: Step) -> _Plan | None:
    codes, found = weights(step)[0], positions(step)
    channels = step.x.shape[3]
    if (
        codes.shape != (3, 3, channels)
        or channels % _CHANNELS
        or found.step != (1, 1)
        or found.pooled != (1, 1)
        or found.stride[1] > _WIDEST
        or 3 * found.size[1] * channels > _FARTHEST
        or 2 * (found.count[1] + 2) * channels > _FARTHEST
    ):
        return None
    flat = codes.reshape(9, channels)
    how = lifted(step, 128 * abs(flat).sum(0) + abs(biases(step, flat.sum(0))))
    tall = _tall(found)
    starts = [min(row, found.count[0] - tall) for row in range(0, found.count[0], tall)]
    passes = []
    for row in starts:
        top = row * found.stride[0] - found.before[0]
        passes.append((row, (max(0, -top), max(0, min(tall + 2, found.size[0] - top)))))
    if how is None or len({inside for _, inside in passes}) > 4:
        return None
    return _Plan(found, channels, how, tuple(passes))


@EMITTERS.register("DepthwiseConvolve", when=lambda step: _plan(step) is not None)
def depthwise(step: Step, unit: Unit) -> Function:
    """Rows outside, groups of channels inside, so that an output may lie over its input but for some rows."""
    plan = _plan(step)
    assert plan is not None
    found, channels, zero = plan.found, plan.channels, step.x.grid.zero_point
    row_bytes, output_row = found.size[1] * channels, found.count[1] * channels
    unit.use("lifted_code", "fill_words")
    gathers = []
    for inside, group in groupby(plan.passes, key=lambda each: each[1]):
        name = _gather(plan, inside, zero, unit)
        gathers.append((list(group)[-1][0], f"{name}(from, columns + {8 * found.before[1]});"))
    choice = "".join(
        f"            {'else ' if index else ''}{f'if (first <= {last})' if index + 1 < len(gathers) else ''}\n"
        f"                {call}\n"
        for index, (last, call) in enumerate(gathers)
    )
    if len(gathers) == 1:
        choice = f"            {gathers[0][1]}\n"
    right = found.before[1] + plan.inside
    own = Channels(
        step, plan.codes, [(3 * row + column, 3 * row + 3 + column) for column in range(3) for row in range(2)]
    )
    unpack, place = own.written(unit, f"columns + {8 * plan.columns}")
    body = fill(
        _BODY,
        left_words=8 * found.before[1],
        right_start=8 * right,
        right_words=8 * (plan.columns - right),
        outside=f"0x{(zero & 0xFFFF) * 0x10001:08x}u",
        down=found.count[0],
        tall=plan.tall,
        last=found.count[0] - plan.tall,
        channels=channels,
        stride=found.stride[0],
        top=found.before[0],
        row_bytes=row_bytes,
        output_row=output_row,
        gather=choice.rstrip("\n"),
        sums=_sums(plan, unit),
        unpack=unpack,
        weights=place,
    )
    farthest = max(
        (row + plan.tall) * output_row - max(0, row * found.stride[0] - found.before[0]) * row_bytes
        for row, _ in plan.passes
    )
    return Function(body, plan.columns * _COLUMN + own.scratch, max(0, farthest))


def _gather(plan: _Plan, inside: tuple[int, int], zero: int, unit: Unit) -> str:
    """A function that takes the first of the four rows and where columns are put."""
    stride, (first, end) = plan.found.size[1] * plan.channels, inside
    each = unrolled(plan.inside, 3)
    lines = ["push {r4-r11, lr}", *number("r2", (zero & 0xFF) * 0x01010101), *number("r12", plan.inside // each), "1:"]
    rows = [f"r{3 + row}" if first <= row < end else "r2" for row in range(4)]
    column = [f"ldr r{3 + row}, [r0, #{stride * row}]" for row in range(first + 1, end)]
    if stride * first == 0 and end > 0 and plan.channels < 1 << 8:
        column += [f"ldr r3, [r0], #{plan.channels}"]
    else:
        column += [f"ldr r{3 + first}, [r0, #{stride * first}]"] if first < end else []
        column += add("r0", plan.channels, "lr")
    column += [f"pkhbt r7, {rows[0]}, {rows[1]}, lsl #16", f"pkhtb r9, {rows[1]}, {rows[0]}, asr #16"]
    column += [f"pkhbt r8, {rows[2]}, {rows[3]}, lsl #16", f"pkhtb r10, {rows[3]}, {rows[2]}, asr #16"]
    column += ["sxtb16 r3, r7", "sxtb16 r4, r8", "sxtb16 r5, r7, ror #8", "sxtb16 r6, r8, ror #8"]
    column += ["sxtb16 r7, r9", "sxtb16 r8, r10", "sxtb16 r9, r9, ror #8", "sxtb16 r10, r10, ror #8"]
    column += ["stmia r1!, {r3-r10}"]
    lines += repeated(each, column)
    lines += ["subs r12, r12, #1", "bne 1b", "pop {r4-r11, pc}"]
    twin = fill(
        _GATHER_TWIN,
        columns=plan.inside,
        channels=plan.channels,
        first=first,
        end=end,
        outside=zero,
        stride=stride,
    )
    comment = (
        f"Four rows of {plan.inside} columns, four channels; rows {first} to {end} lie inside. "
        "r0: x, r1: into, r2: codes of 0, r3..r10: codes, r12: count"
    )
    return function(unit, "columns", "const int8_t *x, uint32_t *into", comment, lines, twin)


def _sums(plan: _Plan, unit: Unit) -> str:
    """A function that takes columns, weights of four channels, and where their outputs are put."""
    across, channels = plan.found.count[1], plan.channels
    pairs = across // 2
    each = pairs if pairs <= _UNROLLED else unrolled(pairs, _UNROLLED)
    # On the stack: multiplier, constant, what sums begin with, weights, ends of a row of outputs, of columns; shift
    lines = [
        "push {r4-r11, lr}",
        "sub sp, sp, #28",
        "str r1, [sp, #12]",
        f"add r3, r0, #{_COLUMN}",
        "str r3, [sp, #20]",
    ]
    lines += ["1:", "ldr r1, [sp, #12]", "ldmia r1!, {r3-r8}", "ldmia r1!, {r10-r12}"]
    lines += [] if plan.codes.shift is not None else ["ldr lr, [r1], #4", "str lr, [sp, #24]"]
    lines += ["str r1, [sp, #12]"]
    lines += ["str r10, [sp, #8]", "strd r11, r12, [sp]"]
    if pairs > each:
        lines += ["mov r9, r2", *add("r9", 2 * pairs * channels, "r10"), "str r9, [sp, #16]", "2:"]
    lines += repeated(each, _products(plan, 2))
    if pairs > each:
        lines += ["ldr r1, [sp, #16]", "cmp r2, r1", "bne 2b"]
    if across % 2:
        lines += _products(plan, 1)
    lines += add("r0", 8 - across * plan.found.stride[1] * _COLUMN, "r3")
    lines += add("r2", 1 - across * channels, "r3")
    lines += ["ldr r1, [sp, #20]", "cmp r0, r1", "bne 1b", "add sp, sp, #28", "pop {r4-r11, pc}"]
    twin = fill(
        _TWIN,
        across=across,
        stride=plan.found.stride[1],
        channels=channels,
        step=7 + plan.codes.words.shape[1],
        upper=plan.codes.code_c("as_signed(upper)", "w + 7"),
        lower=plan.codes.code_c("as_signed(lower)", "w + 7"),
        tall=plan.tall,
        row=across * channels,
    )
    comment = (
        f"Four channels of {plan.tall} rows of {across} outputs. "
        "r0: x, r2: y, r3..r8: weights, r9..r12: sums, r1, lr: codes of a column; multiplier, constant"
    )
    return function(unit, "depthwise", "const uint32_t *x, const uint32_t *w, int8_t *y", comment, lines, twin)


def _products(plan: _Plan, outputs: int) -> list[str]:
    """Outputs side by side, one or two, in one or two rows."""
    stride, channels, tall = plan.found.stride[1], plan.channels, plan.tall
    used = [["r9", "r10"][:tall], ["r11", "r12"][:tall]][:outputs]
    begin = used[-1][-1]  # the last to be written holds what all begin with until then
    lines = [f"ldr {begin}, [sp, #8]"]
    on = stride * outputs * _COLUMN
    for column in range((outputs - 1) * stride + 3):
        where = f"[r0], #{on}" if column == 0 else f"[r0, #{column * _COLUMN - on}]"
        lines += [f"ldrd r1, lr, {where}"]
        for index, sums in enumerate(used):
            tap = column - stride * index
            if not 0 <= tap < 3:
                continue
            upper, lower = f"r{3 + 2 * tap}", f"r{4 + 2 * tap}"
            start = [begin if tap == 0 else each for each in sums]
            lines += [f"smlad {sums[0]}, {upper}, r1, {start[0]}", f"smlatb {sums[0]}, {lower}, lr, {sums[0]}"]
            if tall == 2:
                lines += [f"smlabt {sums[1]}, {upper}, r1, {start[1]}", f"smlad {sums[1]}, {lower}, lr, {sums[1]}"]
    lines += ["ldrd r1, lr, [sp]"]
    every = [each for sums in used for each in sums]
    lines += plan.codes.lines(every, "r1", "lr", ("ldr r1, [sp, #24]", "r1"))
    row = plan.found.count[1] * channels
    places = [
        (each, index * channels + part * row) for index, sums in enumerate(used) for part, each in enumerate(sums)
    ]
    lines += [f"strb {each}, [r2, #{at}]" for each, at in places[1:]]
    if outputs * channels < 1 << 8:
        return [*lines, f"strb {places[0][0]}, [r2], #{outputs * channels}"]
    return [*lines, f"strb {places[0][0]}, [r2]", *add("r2", outputs * channels, "r1")]
