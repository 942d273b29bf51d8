"""Single steps of cells that a module steps through itself; every operation is recorded by autograd."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.quant.recurrent.layers import CellWeights, biases_of_gru
from mcubench.quant.recurrent.rounding import GATE_SCALE, SHARE_SCALE, Levels, in_16_bits

__all__ = ["gru_step", "lstm_step"]


def gru_step(
    x: Tensor, state: tuple[Tensor, Tensor], weights: CellWeights, hidden: Levels | None = None
) -> tuple[Tensor, Tensor]:
    """One step of a GRU.

    Args:
        x: (N, inputs).
        state: The hidden state, (N, units): rounded to its levels, and to 16 bits.
        weights: Gates in PyTorch's order.
        hidden: Levels of the hidden state; ``None`` for a step in float.

    Returns:
        The state after the step.
    """
    rounds, units = hidden is not None, weights[1].shape[1]
    shown, exact = state
    bias, again = biases_of_gru(weights, units)
    given = in_16_bits(F.linear(x, weights[0], bias), GATE_SCALE, rounds)
    recalled = F.linear(shown, weights[1], None if again is None else F.pad(again, (2 * units, 0)))
    recalled = in_16_bits(recalled, GATE_SCALE, rounds)
    sums = in_16_bits((given + recalled)[:, : 2 * units], GATE_SCALE, rounds)
    reset, kept = in_16_bits(sums.sigmoid(), SHARE_SCALE, rounds).split(units, -1)
    inner = given[:, 2 * units :] + in_16_bits(reset * recalled[:, 2 * units :], GATE_SCALE, rounds)
    new = in_16_bits(in_16_bits(inner, GATE_SCALE, rounds).tanh(), SHARE_SCALE, rounds)
    old, not_new = (in_16_bits(kept * each, SHARE_SCALE, rounds) for each in (exact, new))
    exact = old + (new - not_new)
    return exact if hidden is None else hidden.rounded(exact), exact


def lstm_step(
    x: Tensor,
    state: tuple[Tensor, Tensor],
    weights: CellWeights,
    hidden: Levels | None = None,
    cell: Levels | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of an LSTM.

    Args:
        x: (N, inputs).
        state: The hidden state and the cell, (N, units).
        weights: Gates in PyTorch's order.
        hidden: Levels of the hidden state; ``None`` for a step in float.
        cell: Those of the cell.

    Returns:
        The hidden state, the cell, and the hidden state before it was rounded.
    """
    rounds = hidden is not None
    shown, old = state
    w_input, w_state, b_input, b_state = weights
    bias = b_input if b_input is None or b_state is None else b_input + b_state
    given = in_16_bits(F.linear(x, w_input, bias), GATE_SCALE, rounds)
    recalled = in_16_bits(F.linear(shown, w_state), GATE_SCALE, rounds)
    let_in, kept, candidate, let_out = in_16_bits(given + recalled, GATE_SCALE, rounds).chunk(4, -1)
    let_in, kept, let_out = (in_16_bits(each.sigmoid(), SHARE_SCALE, rounds) for each in (let_in, kept, let_out))
    scale = 1.0 if cell is None else cell.grid.scale
    new = in_16_bits(let_in * in_16_bits(candidate.tanh(), SHARE_SCALE, rounds), scale, rounds)
    after = in_16_bits(in_16_bits(kept * old, scale, rounds) + new, scale, rounds)
    exact = let_out * in_16_bits(after.tanh(), SHARE_SCALE, rounds)
    return exact if hidden is None else hidden.rounded(exact), after, exact
