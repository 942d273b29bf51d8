"""The LSTM: int8 weights, inputs and hidden state, gates and cell in 16 bits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import Bias, Filter, IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped, exact_type, factors

__all__ = ["GATE", "SIGMOID_16", "Gate", "Lstm", "sigmoid_16", "tanh_16"]

GATE = Grid(2.0**-12, 0)  # of what a gate adds up: 3 bits before the point
_SHARE = 2.0**-15  # of what a gate gives

# Sigmoid at steps of 1/24, in 16 bits. The table of TFLite is larger by 1 than the rounded function at these places,
# as its int16 LOGISTIC shows.
_ONE_MORE = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46),
    *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)
SIGMOID_16 = torch.tensor([round(65536 / (1 + math.exp(-i / 24))) + (i in _ONE_MORE) for i in range(256)])


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate of a recurrent layer.

    Attributes:
        input: Weights of the input, (units, inputs), with one scale.
        recurrent: Weights of the hidden state, (units, units), with one scale.
        bias: Of both.
    """

    input: Filter
    recurrent: Filter
    bias: Bias | None

    def sums(self, x: Tensor, source: Grid, h: Tensor, state: Grid) -> Tensor:
        """What it adds up, of codes (N, inputs) and (N, units): int16 in int64, 12 bits behind the point."""
        given = _brought(x, self.input, source, None if self.bias is None else self.bias.codes)
        return _saturated(given + _brought(h, self.recurrent, state, None))


@dataclass(frozen=True, eq=False)
class Lstm(Kernel):
    """UNIDIRECTIONAL_SEQUENCE_LSTM: codes (N, steps, inputs) to the hidden state after each step.

    Each sample begins with a cell of 0 and a hidden state that stands for 0. TFLite Micro goes on from the last state
    until it is reset.

    Attributes:
        gates: Of the input, of what is forgotten, of the cell and of the output.
        state: Grid of the hidden state, which is the output's.
        cell_scale: Of the cell, a power of 2.
        cell_clip: What the cell is clipped to, as a value; 0 for not at all.
    """

    gates: tuple[Gate, ...]
    state: Grid
    cell_scale: float
    cell_clip: float

    @property
    def candidate_factor(self) -> tuple[int, int]:
        """What the product of a gate and the candidate is multiplied with for the cell."""
        return multiplier_of(_SHARE**2 / self.cell_scale)

    @property
    def output_factor(self) -> tuple[int, int]:
        """What the product of a gate and the shown cell is multiplied with for the hidden state."""
        return multiplier_of(_SHARE**2 / self.state.scale)

    @property
    def shift(self) -> int:
        """Powers of 2 between the cell and the argument of its tanh."""
        return 12 + round(math.log2(self.cell_scale))

    @property
    def limit(self) -> int:
        """What the cell is clipped to, as a code; 0 for not at all."""
        return int(min(self.cell_clip / self.cell_scale, 32767.0)) if self.cell_clip > 0 else 0

    def filters(self) -> Iterator[Filter]:
        """The weights of all gates."""
        for gate in self.gates:
            yield from (gate.input, gate.recurrent)

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, steps, units)."""
        (x,), source = inputs, node.inputs[0].grid
        units = len(self.gates[0].recurrent.codes)
        h = torch.full((len(x), units), self.state.zero_point)
        cell = torch.zeros(len(x), units, dtype=torch.int64)
        found = []
        for step in range(x.shape[1]):
            h, cell = self.step(x[:, step], source, h, cell)
            found.append(h)
        return torch.stack(found, 1).to(torch.int8)

    def step(self, x: Tensor, source: Grid, h: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """The hidden state, as codes, and the cell after one input (N, inputs)."""
        sums = [gate.sums(x, source, h, self.state) for gate in self.gates]
        let_in, kept, let_out = (sigmoid_16(sums[gate]) for gate in (0, 1, 3))
        candidate = tanh_16(sums[2], 0)
        old = _saturated(rescaled(kept * cell, *multiplier_of(_SHARE)))
        new = _saturated(rescaled(let_in * candidate, *self.candidate_factor))
        cell = _saturated(old + new)
        if self.limit:
            cell = cell.clamp(-self.limit, self.limit)
        product = rescaled(tanh_16(cell, self.shift) * let_out, *self.output_factor)
        return clamped(product + self.state.zero_point, self.state), cell


def _brought(codes: Tensor, filter_: Filter, source: Grid, bias: Tensor | None) -> Tensor:
    """Sums of products, in 16 bits."""
    kind = exact_type(filter_.codes.shape[1])
    sums = (centred(codes, source).to(kind) @ filter_.codes.to(kind).T).long()
    if bias is not None:
        sums = sums + bias.long()
    return _saturated(rescaled(sums, *factors(filter_, source, GATE, per_tensor=True)))


def _saturated(x: Tensor) -> Tensor:
    return x.clamp(-(2**15), 2**15 - 1)


def sigmoid_16(x: Tensor) -> Tensor:
    """Sigmoid of 12 bits behind the point, with 15, by a line between two entries of the table (``Logistic``)."""
    scaled = 3 * x
    place, between = scaled.abs() >> 9, scaled.abs() & 511
    low, high = SIGMOID_16[place.clamp_max(254)], SIGMOID_16[(place + 1).clamp_max(255)]
    result = torch.where(place >= 255, 0x7FFF << 10, (low << 9) + between * (high - low))
    return torch.where(scaled >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1) >> 10


def tanh_16(x: Tensor, shift: int) -> Tensor:
    """Hyperbolic tangent of x * 2^shift, that with 12 bits behind the point; the result has 15 (``Tanh``)."""
    scaled = (3 * x) << shift if shift >= 0 else (3 * x + (1 << (-shift - 1))) >> -shift
    place, between = scaled.abs() >> 8, scaled.abs() & 255
    low, high = SIGMOID_16[place.clamp_max(254)], SIGMOID_16[(place + 1).clamp_max(255)]
    result = torch.where(place >= 255, 0xFFFF << 8, (low << 8) + between * (high - low))
    half, nudge = 1 << 23, 1 << 7
    return torch.where(scaled >= 0, result - half + nudge, -result + half + nudge - 1) >> 8
