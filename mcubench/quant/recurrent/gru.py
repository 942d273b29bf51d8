"""The steps of a GRU, with their gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mcubench.quant.recurrent.rounding import GATE_SCALE, SHARE_SCALE, Levels, Rounding, in_full_precision, steps_of

__all__ = ["GruSteps"]


class GruSteps(torch.autograd.Function):
    """Steps of a GRU: h' = z h + (n - z n)."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, weight: Tensor, bias: Tensor | None, hidden: Levels | None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states after each step, (steps, N, units), rounded to their levels and to 16 bits.

        Args:
            ctx: For `backward`.
            given: What the input gives the gates, (steps, N, 3 * units).
            weight: Of the hidden state, (3 * units, units).
            bias: Of what is reset, (units,).
            hidden: Levels of the hidden state; ``None`` for float.
        """
        (steps, count, _), units = given.shape, weight.shape[1]
        to = Rounding(hidden is not None, given.dtype)
        given = to.cut(to.to(given.clone(), GATE_SCALE), GATE_SCALE) if to.rounds else given
        shown, exact = given.new_zeros(2, steps + 1, count, units).unbind()
        gates, transposed = torch.empty_like(given), weight.t()
        again = given.new_empty(steps, count, units)
        first = 2 * units  # the gates in front of the new one
        rows = zip(
            given[..., :first].unbind(), given[..., first:].unbind(), gates[..., :first].unbind(),
            *steps_of(gates, units), again.unbind(), exact.unbind()[1:], shown.unbind()[1:], strict=True,
        )  # fmt: skip
        h, state = shown[0], exact[0]
        for given_both, given_new, both, reset, kept, new, old, after, h_after in rows:
            recalled = torch.mm(h, transposed)
            if bias is not None:
                recalled[:, first:] += bias
            to.cut(to.to(recalled, GATE_SCALE), GATE_SCALE)
            sums = to.cut(torch.add(recalled[:, :first], given_both), GATE_SCALE)
            to.to(torch.sigmoid(sums, out=both), SHARE_SCALE)
            old.copy_(recalled[:, first:])
            inner = to.to(reset * old, GATE_SCALE).add_(given_new)
            to.to(torch.tanh(to.cut(inner, GATE_SCALE), out=new), SHARE_SCALE)
            rest = new - to.to(kept * new, SHARE_SCALE)
            state = to.to(torch.mul(kept, state, out=after), SHARE_SCALE).add_(rest)
            h = h_after.copy_(state) if hidden is None else hidden.rounded_to(state, h_after)
        ctx.save_for_backward(weight, gates, again, shown, exact)
        ctx.hidden, ctx.has_bias = hidden, bias is not None
        unrounded = exact[1:]
        ctx.mark_non_differentiable(unrounded)
        return shown[1:], unrounded

    @staticmethod
    @in_full_precision
    def backward(ctx: Any, wanted: Tensor, _unrounded: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        """Gradients of `given`, `weight` and `bias`."""
        weight, gates, again, shown, exact = ctx.saved_tensors
        units = weight.shape[1]
        reset, kept, new = gates.split(units, -1)
        by_reset, by_new = again * reset * (1 - reset), 1 - new * new
        by_kept = (exact[:-1] - new) * kept * (1 - kept)
        recalled, inner = torch.empty_like(gates), torch.empty_like(new)
        held = [None] * len(gates) if ctx.hidden is None else ctx.hidden.holds(exact[1:]).unbind()
        to_shown, to_exact = weight.new_zeros(2, *shown.shape[1:]).unbind()  # of the state, by the step behind
        rows = zip(
            wanted.unbind(), held, reset.unbind(), kept.unbind(), by_reset.unbind(), by_kept.unbind(), by_new.unbind(),
            recalled.unbind(), *steps_of(recalled, units), inner.unbind(), strict=True,
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
