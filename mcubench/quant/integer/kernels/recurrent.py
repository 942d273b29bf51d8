"""Recurrent layers: int8 weights, inputs and hidden state; gates, cells and what the GRU goes on from in 16 bits.

The blocks of both are those of TFLite Micro's integer LSTM: dense layers whose sums are brought to 12 bits behind the
point, sigmoid and tanh in 16 bits, products and sums that are rounded twice and saturate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import Bias, Filter, IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped, exact_type
from mcubench.quant.integer.sigmoid_16 import sigmoid_16, tanh_16

__all__ = ["GATE", "SHARE", "Gate", "Gru", "Lstm", "RecurrentKernel", "State"]

GATE = Grid(2.0**-12, 0, bits=16)  # of what a gate adds up: 3 bits before the point
SHARE = Grid(2.0**-15, 0, bits=16)  # of what a gate gives, and of what a GRU goes on from

State = tuple[Tensor, Tensor]  # the hidden state's codes, and the 16 bits that are kept beside them; (N, units) each


@dataclass(frozen=True, eq=False)
class Gate:
    """A gate of a recurrent layer.

    Attributes:
        input: Weights of the input, (units, inputs), with one scale.
        recurrent: Weights of the hidden state, (units, units), with one scale.
        bias: Of what the input gives.
        recurrent_bias: Of what the hidden state gives.
    """

    input: Filter
    recurrent: Filter
    bias: Bias | None
    recurrent_bias: Bias | None = None

    def given(self, x: Tensor, source: Grid) -> Tensor:
        """What the input gives, of codes (..., inputs): int16 in int64, 12 bits behind the point."""
        return _brought(x, self.input, source, self.bias)

    def recalled(self, h: Tensor, state: Grid) -> Tensor:
        """What the hidden state gives, of codes (..., units)."""
        return _brought(h, self.recurrent, state, self.recurrent_bias)


@dataclass(frozen=True, eq=False)
class RecurrentKernel(Kernel):
    """A layer over time: codes (N, steps, inputs) to the hidden state after each step, (N, steps, units).

    Attributes:
        gates: In PyTorch's order.
        state: Grid of the hidden state, which is the output's.
    """

    gates: tuple[Gate, ...]
    state: Grid

    @property
    def units(self) -> int:
        """Size of the hidden state."""
        return len(self.gates[0].recurrent.codes)

    def filters(self) -> Iterator[Filter]:
        """The weights of all gates."""
        for gate in self.gates:
            yield from (gate.input, gate.recurrent)

    def begin(self, count: int) -> State:
        """The state before the first step: all stands for 0."""
        h = torch.full((count, self.units), self.state.zero_point, dtype=torch.int8)
        return h, torch.zeros(count, self.units, dtype=torch.int64)

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Each sample begins anew, as TFLite Micro does after a reset alone."""
        return self.run_from(self.begin(len(inputs[0])), inputs[0], node.inputs[0].grid)[0]

    def run_from(self, state: State, x: Tensor, source: Grid) -> tuple[Tensor, State]:
        """Goes on from a state; also the state behind the last step."""
        given = [gate.given(x, source) for gate in self.gates]
        found = []
        for step in range(x.shape[1]):
            state = self.advance([each[:, step] for each in given], state)
            found.append(state[0])
        return torch.stack(found, 1), state

    def advance(self, given: Sequence[Tensor], state: State) -> State:
        """One step, from what its input gives each gate, (N, units)."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Lstm(RecurrentKernel):
    """UNIDIRECTIONAL_SEQUENCE_LSTM; gates of the input, of what is forgotten, of the cell and of the output.

    Attributes:
        cell_scale: Of the cell, a power of 2.
        cell_clip: What the cell is clipped to, as a value; 0 for not at all.
    """

    cell_scale: float
    cell_clip: float

    @property
    def candidate_factor(self) -> tuple[int, int]:
        """What the product of a gate and the candidate is multiplied with for the cell."""
        return multiplier_of(SHARE.scale**2 / self.cell_scale)

    @property
    def output_factor(self) -> tuple[int, int]:
        """What the product of a gate and the shown cell is multiplied with for the hidden state."""
        return multiplier_of(SHARE.scale**2 / self.state.scale)

    @property
    def shift(self) -> int:
        """Powers of 2 between the cell and the argument of its tanh."""
        return 12 + round(math.log2(self.cell_scale))

    @property
    def limit(self) -> int:
        """What the cell is clipped to, as a code; 0 for not at all."""
        return int(min(self.cell_clip / self.cell_scale, 32767.0)) if self.cell_clip > 0 else 0

    def advance(self, given: Sequence[Tensor], state: State) -> State:
        """The hidden state and the cell after one step."""
        h, cell = state
        sums = [_saturated(each + gate.recalled(h, self.state)) for each, gate in zip(given, self.gates, strict=True)]
        let_in, kept, let_out = (sigmoid_16(sums[gate]) for gate in (0, 1, 3))
        candidate = tanh_16(sums[2], 0)
        old = _saturated(rescaled(kept * cell, *_SHARE_OF))
        new = _saturated(rescaled(let_in * candidate, *self.candidate_factor))
        cell = _saturated(old + new)
        if self.limit:
            cell = cell.clamp(-self.limit, self.limit)
        product = rescaled(tanh_16(cell, self.shift) * let_out, *self.output_factor)
        return clamped(product + self.state.zero_point, self.state), cell


@dataclass(frozen=True, eq=False)
class Gru(RecurrentKernel):
    """A GRU whose reset gate acts behind the recurrent product; gates of what is reset, of what is kept, and the new.

    TFLite has no such operator. It is defined by operators in 16 bits that it has, each exactly (`unrolled` writes
    them): h' = z h + (n - z n), where h is kept in 16 bits and multiplied with weights as its int8 code.
    """

    @property
    def shown_factor(self) -> tuple[int, int]:
        """What the state is multiplied with for its int8 code."""
        return multiplier_of(SHARE.scale / self.state.scale)

    def advance(self, given: Sequence[Tensor], state: State) -> State:
        """The hidden state's codes, and itself, after one step."""
        h, exact = state
        recalled = [gate.recalled(h, self.state) for gate in self.gates]
        reset, kept = (sigmoid_16(_saturated(given[gate] + recalled[gate])) for gate in (0, 1))
        new = tanh_16(_saturated(given[2] + _saturated(rescaled(reset * recalled[2], *_SHARE_OF))), 0)
        old, not_new = (_saturated(rescaled(kept * each, *_SHARE_OF)) for each in (exact, new))
        exact = _saturated(old + _saturated(new - not_new))
        shown = rescaled(exact, *self.shown_factor)
        return clamped(shown + self.state.zero_point, self.state), exact


_SHARE_OF = multiplier_of(SHARE.scale)


def _brought(codes: Tensor, filter_: Filter, source: Grid, bias: Bias | None) -> Tensor:
    """Sums of products, in 16 bits."""
    kind = exact_type(filter_.codes.shape[1])
    sums = (centred(codes, source).to(kind) @ filter_.codes.to(kind).T).long()
    if bias is not None:
        sums = sums + bias.codes
    return _saturated(rescaled(sums, *multiplier_of(float(filter_.scales[0]) * source.scale / GATE.scale)))


def _saturated(x: Tensor) -> Tensor:
    return x.clamp(-(2**15), 2**15 - 1)
