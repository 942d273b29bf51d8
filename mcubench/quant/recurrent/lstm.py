"""The steps of an LSTM, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mcubench.quant.recurrent.rounding import GATE_SCALE, SHARE_SCALE, Levels, Rounding, in_full_precision, steps_of

__all__ = ["LstmSteps"]


class LstmSteps(torch.autograd.Function):
    """Steps of an LSTM."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, weight: Tensor, hidden: Levels | None, cell: Levels | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden states after each step, (steps, N, units), rounded and not, and cells.

        Args:
            ctx: For `backward`.
            given: What the input gives the gates, (steps, N, 4 * units).
            weight: Of the hidden state, (4 * units, units).
            hidden: Levels of the hidden state; ``None`` for float.
            cell: Those of the cell.
        """
        (steps, count, _), units = given.shape, weight.shape[1]
        to, scale = Rounding(hidden is not None, given.dtype), 1.0 if cell is None else cell.grid.scale
        given = to.cut(to.to(given.clone(), GATE_SCALE), GATE_SCALE) if to.rounds else given
        shown, exact, cells = given.new_zeros(3, steps + 1, count, units).unbind()
        gates, transposed = torch.empty_like(given), weight.t()
        bent = given.new_empty(steps, count, units)
        rows = zip(
            given.unbind(), gates.unbind(), *steps_of(gates, units), bent.unbind(), cells.unbind()[1:],
            exact.unbind()[1:], shown.unbind()[1:], strict=True,
        )  # fmt: skip
        h, state = shown[0], cells[0]
        for each, all_gates, let_in, kept, candidate, let_out, bow, after, h_exact, h_after in rows:
            sums = to.cut(to.to(torch.mm(h, transposed), GATE_SCALE), GATE_SCALE)
            to.cut(sums.add_(each), GATE_SCALE)
            torch.sigmoid(sums, out=all_gates)
            candidate.copy_(sums[:, 2 * units : 3 * units].tanh_())
            to.to(all_gates, SHARE_SCALE)
            torch.mul(kept, state, out=after)
            state = to.cut(to.to(after, scale).add_(to.to(let_in * candidate, scale)), scale)
            torch.mul(let_out, to.to(torch.tanh(state, out=bow), SHARE_SCALE), out=h_exact)
            h = h_after.copy_(h_exact) if hidden is None else hidden.rounded_to(h_exact, h_after)
        ctx.save_for_backward(weight, gates, bent, shown, exact, cells)
        ctx.hidden, ctx.cell = hidden, cell
        unrounded, after = exact[1:], cells[1:]
        ctx.mark_non_differentiable(unrounded, after)
        return shown[1:], unrounded, after

    @staticmethod
    @in_full_precision
    def backward(ctx: Any, wanted: Tensor, _unrounded: Tensor, _cells: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradients of `given` and `weight`."""
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
            wanted.unbind(), held, full, by_cell.unbind(), kept.unbind(), recalled.unbind(), *steps_of(slopes, units),
            *steps_of(recalled, units), strict=True,
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
