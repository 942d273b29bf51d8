"""What layers with weights share, whatever C is written for them: factors, biases, the order of weights, positions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mcubench.codegen.program import Step

if TYPE_CHECKING:
    from mcubench.quant.integer.kernels import Convolve, DepthwiseConvolve, FullyConnected, TransposeConvolve

    Layer = Convolve | DepthwiseConvolve | FullyConnected | TransposeConvolve

__all__ = [
    "Positions",
    "Rescaling",
    "biases",
    "bounds_of",
    "by_output",
    "is_plain",
    "lead",
    "packed_in_order",
    "packed_in_pairs",
    "positions",
    "rescaling",
    "side_by_side",
    "weights",
]

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Rescaling:
    """How sums become codes.

    Attributes:
        multipliers: int64, shape (outputs,), 31 bits behind the point.
        exponents: int64, shape (outputs,), of 2; mostly below 0.
        zero_point: Code of 0.
        low: The smallest code that an activation leaves.
        high: The largest.
    """

    multipliers: Integers
    exponents: Integers
    zero_point: int
    low: int
    high: int


def weights(step: Step) -> Integers:
    """Codes of a layer's weights, in its kernel's order of axes."""
    layer: Layer = step.kernel  # type: ignore[assignment]
    return layer.filter.codes.numpy().astype(np.int64)


def by_output(step: Step) -> Integers:
    """Codes of weights, shape (outputs, taps): all that are summed for one output."""
    codes = weights(step)
    if step.kind == "DepthwiseConvolve":
        by_channel: Integers = codes[0].reshape(-1, codes.shape[3]).T
        return by_channel
    return codes.reshape(len(codes), -1)


def bounds_of(codes: Integers, sums: Integers) -> Integers:
    """What sums of outputs can't exceed, given their weights, (outputs, taps), and what they start with."""
    found: Integers = 128 * abs(codes).sum(1) + abs(sums)
    return found


def biases(step: Step, sums: Integers, chosen: slice = slice(None)) -> Integers:
    """What is added to sums of codes times weights: the bias, and what the zero point of the input makes.

    Args:
        step: The layer.
        sums: Of the weights that each of the outputs has, shape (outputs,).
        chosen: Which outputs.
    """
    layer: Layer = step.kernel  # type: ignore[assignment]
    own = 0 if layer.bias is None else layer.bias.codes.numpy().astype(np.int64)[chosen]
    found: Integers = own - step.x.grid.zero_point * sums
    return found


def rescaling(step: Step) -> Rescaling:
    """The factors of a layer's outputs."""
    from mcubench.quant.integer.kernels.common import activation_limits, factors

    layer: Layer = step.kernel  # type: ignore[assignment]
    target = step.output.grid
    found = factors(layer.filter, step.x.grid, target)
    count = step.output.shape[-1]
    multipliers, exponents = (np.broadcast_to(each.numpy(), (count,)).copy() for each in found)
    low, high = activation_limits(target, getattr(layer, "activation", None))
    return Rescaling(multipliers, exponents, target.zero_point, low, high)


def is_plain(step: Step) -> bool:
    """Whether every sum of a layer is divided and can be doubled before, and no code is cut off."""
    factors, codes = rescaling(step), by_output(step)
    bounds = bounds_of(2 * codes, biases(step, np.zeros(len(codes), np.int64)))  # codes lie within 2^8 of a zero point
    divided = (factors.exponents < 0).all() and (bounds < 1 << 30).all()
    return bool(divided and (factors.low, factors.high) == (-128, 127))


def packed_in_pairs(codes: Integers, bits: int) -> NDArray[np.uint32]:
    """Weights of four outputs at a time in words, and of two or one that are left over.

    Rotated right by 2 i times their width, a word has at its low end one weight, lifted to be positive, and at its high
    end that of the next output, signed: of the first outputs and the first tap, then of the other two outputs, if there
    are four, then of the next tap.

    Args:
        codes: Shape (outputs, taps); where a pair or four is not full, it is filled with zeros.
        bits: Of a weight.

    Returns:
        uint32, one after the other.
    """
    left = len(codes) % 4
    fours = len(codes) - left if left in (1, 2) else len(codes)
    parts = [_packed(codes[start : start + 4], bits, pairs=2) for start in range(0, fours, 4)]
    if fours < len(codes):
        parts.append(_packed(codes[fours:], bits, pairs=1))
    return np.concatenate(parts)


def _packed(codes: Integers, bits: int, pairs: int) -> NDArray[np.uint32]:
    """Words of a few outputs."""
    each = 16 // bits // pairs  # taps of a word
    taps = codes.shape[1]
    full = np.zeros((2 * pairs, -(-taps // each) * each), np.int64)
    full[: len(codes), :taps] = codes
    mask = (1 << bits) - 1
    lifted = ((full[0::2] + (1 << (bits - 1))) & mask).astype(np.uint64)  # (pairs, taps)
    signed = (full[1::2] & mask).astype(np.uint64)
    words = np.zeros(full.shape[1] // each, np.uint64)
    for index in range(each * pairs):
        turn = 2 * bits * index
        words |= lifted[index % pairs, index // pairs :: each] << np.uint64(turn)
        words |= signed[index % pairs, index // pairs :: each] << np.uint64((turn - bits) % 32)
    return words.astype(np.uint32)


def packed_in_order(codes: Integers, bits: int) -> NDArray[np.uint8]:
    """Weights of each channel in their order, the first at the low end of a byte.

    Args:
        codes: Shape (channels, taps).
        bits: Of a weight.

    Returns:
        uint8, shape (channels, bytes).
    """
    return side_by_side(codes & ((1 << bits) - 1), bits, 8).astype(np.uint8)


def side_by_side(fields: Integers, bits: int, word: int) -> NDArray[np.uint64]:
    """Fields of each row in whole words, the first at the low end.

    Args:
        fields: Not below 0, shape (rows, fields).
        bits: Of a field.
        word: Bits of a word.

    Returns:
        Shape (rows, words).
    """
    each = word // bits
    full = np.pad(fields, ((0, 0), (0, -fields.shape[1] % each))).astype(np.uint64)
    places = full.reshape(len(full), -1, each) << (bits * np.arange(each, dtype=np.uint64))
    words: NDArray[np.uint64] = places.sum(2, dtype=np.uint64)
    return words


@dataclass(frozen=True)
class Positions:
    """Where the windows of a convolution lie, and of the pooling behind it.

    Attributes:
        size: Height and width of the input.
        window: Rows and columns of taps.
        step: Distance of taps, down and across.
        stride: Distance of windows.
        before: Zeros above and to the left.
        pooled: Windows, down and across, of which the largest is taken.
        count: Outputs, down and across.
    """

    size: tuple[int, int]
    window: tuple[int, int]
    step: tuple[int, int]
    stride: tuple[int, int]
    before: tuple[int, int]
    pooled: tuple[int, int]
    count: tuple[int, int]

    @property
    def joined(self) -> bool:
        """Whether every window is one run of the input, nothing of it outside: a row of taps, or whole rows."""
        rows, columns = self.window
        run = rows == 1 or (columns == self.size[1] and self.step[0] == 1)
        return run and self.step[1] == 1 and self.inside

    @property
    def inside(self) -> bool:
        """Whether no window reaches beyond the input."""
        return self.inside_along(0) and self.inside_along(1)

    def inside_along(self, axis: int) -> bool:
        """Whether no window does down, or across."""
        last = (self.count[axis] * self.pooled[axis] - 1) * self.stride[axis]
        return self.before[axis] == 0 and last + (self.window[axis] - 1) * self.step[axis] < self.size[axis]

    @property
    def numbers(self) -> dict[str, int]:
        """What loops over positions need, by the names that templates have for it."""
        return {
            "height": self.size[0],
            "width": self.size[1],
            "down": self.count[0],
            "across": self.count[1],
            "stride_down": self.stride[0],
            "stride_across": self.stride[1],
            "top": self.before[0],
            "left": self.before[1],
            "pool_down": self.pooled[0],
            "pool_across": self.pooled[1],
            "parts": self.pooled[0] * self.pooled[1],
        }

    def first(self, axis: int, index: int) -> int:
        """The first row or column of the input that an output needs."""
        return max(0, index * self.pooled[axis] * self.stride[axis] - self.before[axis])


def positions(step: Step) -> Positions:
    """The positions of a convolution, or of pooling, or of a convolution in depth."""
    kernel = step.kernel
    _, height, width, _ = step.x.shape
    _, down, across, _ = step.output.shape
    pools = step.kind.endswith("Pool")
    window = kernel.window if pools else tuple(kernel.filter.codes.shape[1:3])  # type: ignore[attr-defined]
    (top, _), (left, _) = kernel.padding  # type: ignore[attr-defined]
    return Positions(
        size=(height, width),
        window=window,
        step=getattr(kernel, "dilation", (1, 1)),
        stride=kernel.stride,  # type: ignore[attr-defined]
        before=(top, left),
        pooled=(1, 1) if step.pool is None else step.pool.window,
        count=(down, across),
    )


def lead(step: Step, found: Positions, rows: int = 1, own: bool = False) -> int:
    """How many bytes before its input an output has to begin, so that it may lie over it.

    Outputs are made in the order of rows, `rows` of them at a time where they are made together, from a copy of what
    they need.

    Args:
        step: The step.
        found: Its positions.
        rows: Rows that are made together, from left to right; 1: each position by itself.
        own: Whether what a position needs is still read while its outputs are written, as there is no copy.
    """
    channels, outputs = step.x.shape[-1], step.output.shape[-1]
    down, across = found.count
    farthest = 0
    for row in range(0, down, rows):
        below = (found.first(0, row + rows) * found.size[1]) * channels  # the first that later rows need
        if rows > 1:
            here = found.first(0, row) * found.size[1] * channels
            end = min(row + rows, down) * across * outputs
            farthest = max(farthest, end - (here if row + rows < down or own else end))
            continue
        for column in range(across):
            end = (row * across + column + 1) * outputs
            after = column if own else column + 1
            right = (found.first(0, row) * found.size[1] + found.first(1, after)) * channels
            needed = min(below if row + 1 < down else end, right if after < across else end)
            farthest = max(farthest, end - needed)
    return farthest
