"""Recurrent layers in float, rounded as the integer graph does, fast enough to be trained through.

What the input gives is one product for all steps. The steps themselves are one node of autograd, with the gradients
written by hand: each step so costs some ten calls of torch forward and twenty backward, and nothing is recorded.
Gradients pass through roundings as if there were none, and are 0 where the hidden state or the cell is out of range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.graph import ops
from mcubench.quant.grid import Grid

__all__ = ["CellWeights", "Levels", "Stepped", "gru_layer", "lstm_layer", "weights_of_cell"]

_GATE_SCALE, _SHARE_SCALE, _DIFFERENCE_SCALE = 2.0**-12, 2.0**-15, 2.0**-14
_LOW, _HIGH = -(2**15), 2**15 - 1

CellWeights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # of input and state, and their biases


@dataclass(frozen=True)
class Levels:
    """What values are rounded to.

    Attributes:
        grid: Scale and zero point.
        low: The smallest code.
        high: The largest.
    """

    grid: Grid
    low: int
    high: int

    def rounded(self, x: Tensor) -> Tensor:
        """Nearest levels."""
        return torch.fake_quantize_per_tensor_affine(x, self.grid.scale, self.grid.zero_point, self.low, self.high)

    def holds(self, x: Tensor) -> Tensor:
        """1 where a value is within the levels, else 0."""
        scale, zero = self.grid.scale, self.grid.zero_point
        return ((x >= (self.low - zero - 0.5) * scale) & (x <= (self.high - zero + 0.5) * scale)).to(x.dtype)


@dataclass(frozen=True)
class Stepped:
    """What a layer of one direction made, (N, steps, units) each.

    Attributes:
        hidden: The hidden state after each step, rounded.
        unrounded: The same before it was rounded to its levels; no gradients.
        cell: The cell of an LSTM; no gradients.
    """

    hidden: Tensor
    unrounded: Tensor
    cell: Tensor | None = None


def weights_of_cell(cell: ops.Cell) -> CellWeights:
    """The tensors of a cell of the graph."""
    found = (cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)
    w_input, w_state, b_input, b_state = (None if each is None else each.tensor for each in found)
    assert w_input is not None
    assert w_state is not None
    return w_input, w_state, b_input, b_state


def gru_layer(x: Tensor, weights: CellWeights, hidden: Levels | None = None, backward: bool = False) -> Stepped:
    """A GRU of one direction, its reset gate behind the recurrent product, from a state of 0.

    Args:
        x: (N, steps, inputs).
        weights: Gates in PyTorch's order: reset, update, new.
        hidden: Of the hidden state; ``None`` for a layer in float.
        backward: Whether it begins with the last step.
    """
    w_input, w_state, b_input, b_state = weights
    bias, again = b_input, None
    if b_input is not None and b_state is not None:
        units = w_state.shape[1]  # the last third stays inside of what is reset
        bias = b_input + F.pad(b_state[: 2 * units], (0, units))
        again = b_state[2 * units :]
    given = _given(x, w_input, bias, hidden is not None, backward)
    return _stepped(_Gru.apply(given, w_state, again, hidden), backward)  # type: ignore[no-untyped-call]


def lstm_layer(
    x: Tensor, weights: CellWeights, hidden: Levels | None = None, cell: Levels | None = None, backward: bool = False
) -> Stepped:
    """An LSTM of one direction, from states of 0.

    Args:
        x: (N, steps, inputs).
        weights: Gates in PyTorch's order: input, forget, cell, output.
        hidden: Of the hidden state; ``None`` for a layer in float.
        cell: Of the cell; given if `hidden` is.
        backward: Whether it begins with the last step.
    """
    w_input, w_state, b_input, b_state = weights
    bias = b_input if b_input is None or b_state is None else b_input + b_state
    given = _given(x, w_input, bias, hidden is not None, backward)
    return _stepped(_Lstm.apply(given, w_state, hidden, cell), backward)  # type: ignore[no-untyped-call]


def _given(x: Tensor, weight: Tensor, bias: Tensor | None, rounds: bool, backward: bool) -> Tensor:
    """What the input gives the gates, (steps, N, gates * units)."""
    given = F.linear(x.transpose(0, 1), weight, bias)
    if rounds:
        given = torch.fake_quantize_per_tensor_affine(given, _GATE_SCALE, 0, _LOW, _HIGH)
    return given.flip(0) if backward else given


def _stepped(results: Any, backward: bool) -> Stepped:
    """The sequences with the samples first, in the order of the input."""
    return Stepped(*((each.flip(0) if backward else each).transpose(0, 1) for each in results))


class _Rounding:
    """What happens to values of 16 bits, in place; nothing in a layer in float.

    Rounding is an addition and a subtraction: beside so large a number there is no room for smaller parts. What comes
    of a sigmoid or a hyperbolic tangent is not cut off, as all but 1 itself is in range.
    """

    def __init__(self, rounds: bool, dtype: torch.dtype) -> None:
        self.rounds = rounds
        self.step = 1.5 / torch.finfo(dtype).eps

    def to(self, x: Tensor, scale: float) -> Tensor:
        """Rounds to multiples of a power of 2."""
        return x.add_(self.step * scale).sub_(self.step * scale) if self.rounds else x

    def cut(self, x: Tensor, scale: float) -> Tensor:
        """Saturates."""
        return x.clamp_(_LOW * scale, _HIGH * scale) if self.rounds else x


def _steps(x: Tensor, units: int) -> list[tuple[Tensor, ...]]:
    """For each gate its values step by step: views, made at once."""
    return [each.unbind() for each in x.split(units, -1)]


class _Gru(torch.autograd.Function):
    """Steps of a GRU: h' = n + z (h - n)."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, weight: Tensor, bias: Tensor | None, hidden: Levels | None
    ) -> tuple[Tensor, Tensor]:
        (steps, count, _), units = given.shape, weight.shape[1]
        to = _Rounding(hidden is not None, given.dtype)
        shown, exact = given.new_zeros(2, steps + 1, count, units).unbind()
        gates, transposed = torch.empty_like(given), weight.t()
        again, differences = given.new_empty(2, steps, count, units).unbind()
        first = 2 * units  # the gates in front of the new one
        rows = zip(
            given[..., :first].unbind(), given[..., first:].unbind(), gates[..., :first].unbind(),
            *_steps(gates, units), again.unbind(), differences.unbind(), exact.unbind()[1:], shown.unbind()[1:],
            strict=True,
        )  # fmt: skip
        h, state = shown[0], exact[0]
        for given_both, given_new, both, reset, kept, new, old, difference, after, h_after in rows:
            recalled = torch.mm(h, transposed)
            if bias is not None:
                recalled[:, first:] += bias
            to.cut(to.to(recalled, _GATE_SCALE), _GATE_SCALE)
            sums = to.cut(torch.add(recalled[:, :first], given_both), _GATE_SCALE)
            to.to(torch.sigmoid(sums, out=both), _SHARE_SCALE)
            old.copy_(recalled[:, first:])
            inner = to.to(reset * old, _GATE_SCALE).add_(given_new)
            to.to(torch.tanh(to.cut(inner, _GATE_SCALE), out=new), _SHARE_SCALE)
            to.to(torch.sub(state, new, out=difference), _DIFFERENCE_SCALE)
            state = to.to(torch.mul(kept, difference, out=after), _SHARE_SCALE).add_(new)
            h = h_after.copy_(state if hidden is None else hidden.rounded(state))
        ctx.save_for_backward(weight, gates, again, differences, shown, exact)
        ctx.hidden, ctx.has_bias = hidden, bias is not None
        unrounded = exact[1:]
        ctx.mark_non_differentiable(unrounded)
        return shown[1:], unrounded

    @staticmethod
    def backward(ctx: Any, wanted: Tensor, _unrounded: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        weight, gates, again, differences, shown, exact = ctx.saved_tensors
        units = weight.shape[1]
        reset, kept, new = gates.split(units, -1)
        by_reset, by_kept, by_new = again * reset * (1 - reset), differences * kept * (1 - kept), 1 - new * new
        recalled, inner = torch.empty_like(gates), torch.empty_like(new)
        held = [None] * len(gates) if ctx.hidden is None else ctx.hidden.holds(exact[1:]).unbind()
        to_shown, to_exact = weight.new_zeros(2, *shown.shape[1:]).unbind()  # of the state, by the step behind
        rows = zip(
            wanted.unbind(), held, reset.unbind(), kept.unbind(), by_reset.unbind(), by_kept.unbind(), by_new.unbind(),
            recalled.unbind(), *_steps(recalled, units), inner.unbind(), strict=True,
        )  # fmt: skip
        for want, hold, r, z, slope_r, slope_z, slope_n, sums, sum_r, sum_z, sum_n, of_new in reversed([*rows]):
            state = want + to_shown
            if hold is not None:
                state *= hold
            state += to_exact
            torch.mul(state, z, out=to_exact)
            torch.mul(state - to_exact, slope_n, out=of_new)
            torch.mul(of_new, slope_r, out=sum_r)
            torch.mul(state, slope_z, out=sum_z)
            torch.mul(of_new, r, out=sum_n)
            torch.mm(sums, weight, out=to_shown)
        of_weight = recalled.flatten(0, 1).t() @ shown[:-1].flatten(0, 1)
        of_bias = recalled[..., 2 * units :].sum((0, 1)) if ctx.has_bias else None
        return torch.cat([recalled[..., : 2 * units], inner], -1), of_weight, of_bias, None


class _Lstm(torch.autograd.Function):
    """Steps of an LSTM."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, weight: Tensor, hidden: Levels | None, cell: Levels | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        (steps, count, _), units = given.shape, weight.shape[1]
        to, scale = _Rounding(hidden is not None, given.dtype), 1.0 if cell is None else cell.grid.scale
        shown, exact, cells = given.new_zeros(3, steps + 1, count, units).unbind()
        gates, transposed = torch.empty_like(given), weight.t()
        bent = given.new_empty(steps, count, units)
        rows = zip(
            given.unbind(), gates.unbind(), *_steps(gates, units), bent.unbind(), cells.unbind()[1:],
            exact.unbind()[1:], shown.unbind()[1:], strict=True,
        )  # fmt: skip
        h, state = shown[0], cells[0]
        for each, all_gates, let_in, kept, candidate, let_out, bow, after, h_exact, h_after in rows:
            sums = to.cut(to.to(torch.mm(h, transposed), _GATE_SCALE), _GATE_SCALE)
            to.cut(sums.add_(each), _GATE_SCALE)
            torch.sigmoid(sums, out=all_gates)
            candidate.copy_(sums[:, 2 * units : 3 * units].tanh_())
            to.to(all_gates, _SHARE_SCALE)
            torch.mul(kept, state, out=after)
            state = to.cut(to.to(after, scale).add_(to.to(let_in * candidate, scale)), scale)
            torch.mul(let_out, to.to(torch.tanh(state, out=bow), _SHARE_SCALE), out=h_exact)
            h = h_after.copy_(h_exact if hidden is None else hidden.rounded(h_exact))
        ctx.save_for_backward(weight, gates, bent, shown, exact, cells)
        ctx.hidden, ctx.cell = hidden, cell
        unrounded, after = exact[1:], cells[1:]
        ctx.mark_non_differentiable(unrounded, after)
        return shown[1:], unrounded, after

    @staticmethod
    def backward(ctx: Any, wanted: Tensor, _unrounded: Tensor, _cells: Tensor) -> tuple[Tensor, Tensor, None, None]:
        weight, gates, bent, shown, exact, cells = ctx.saved_tensors
        units = weight.shape[1]
        let_in, kept, candidate, let_out = gates.split(units, -1)
        slopes = gates * (1 - gates)
        slopes[..., 2 * units : 3 * units] = 1 - candidate * candidate
        # What a gate's sum changes: of the cell the first three, of the hidden state the last.
        slopes *= torch.cat([candidate, cells[:-1], let_in, bent], -1)
        by_cell = let_out * (1 - bent * bent)
        recalled = torch.empty_like(gates)
        held = [None] * len(gates) if ctx.hidden is None else ctx.hidden.holds(exact[1:]).unbind()
        full = [None] * len(gates) if ctx.cell is None else ctx.cell.holds(cells[1:]).unbind()
        to_shown, cell = weight.new_zeros(2, *shown.shape[1:]).unbind()
        rows = zip(
            wanted.unbind(), held, full, by_cell.unbind(), kept.unbind(), recalled.unbind(), *_steps(slopes, units),
            *_steps(recalled, units), strict=True,
        )  # fmt: skip
        for want, hold, fits, slope, f, sums, *slope_of, sum_i, sum_f, sum_g, sum_o in reversed([*rows]):
            state = want + to_shown
            if hold is not None:
                state *= hold
            cell.addcmul_(state, slope)
            if fits is not None:
                cell *= fits
            for gate, total in enumerate((sum_i, sum_f, sum_g)):
                torch.mul(cell, slope_of[gate], out=total)
            torch.mul(state, slope_of[3], out=sum_o)
            cell *= f
            torch.mm(sums, weight, out=to_shown)
        return recalled, recalled.flatten(0, 1).t() @ shown[:-1].flatten(0, 1), None, None
