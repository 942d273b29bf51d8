"""Layers of one direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.graph import ops
from mcubench.quant.recurrent.gru import GruSteps
from mcubench.quant.recurrent.lstm import LstmSteps
from mcubench.quant.recurrent.rounding import Levels

__all__ = ["CellWeights", "Stepped", "biases_of_gru", "gru_layer", "lstm_layer", "results_of", "weights_of_cell"]

CellWeights = tuple[Tensor, Tensor, Tensor | None, Tensor | None]  # of input and state, and their biases


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


def results_of(layers: Sequence[Stepped]) -> tuple[Tensor, ...]:
    """What a recurrent layer gives, of what its directions made: the sequence, and last states (N, directions, units).

    The second direction, if there is one, has ended where the sequence begins.
    """
    ends = [-1, 0][: len(layers)]
    last = torch.stack([each.hidden[:, end] for each, end in zip(layers, ends, strict=True)], 1)
    sequence = torch.cat([each.hidden for each in layers], -1)
    cells = [each.cell[:, end] for each, end in zip(layers, ends, strict=True) if each.cell is not None]
    return (sequence, last, torch.stack(cells, 1)) if cells else (sequence, last)


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
    w_input, w_state, *_ = weights
    bias, again = biases_of_gru(weights, w_state.shape[1])
    given = _given(x, w_input, bias, backward)
    return _stepped(GruSteps.apply(given, w_state, again, hidden), backward)  # type: ignore[no-untyped-call]


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
    given = _given(x, w_input, bias, backward)
    return _stepped(LstmSteps.apply(given, w_state, hidden, cell), backward)  # type: ignore[no-untyped-call]


def biases_of_gru(weights: CellWeights, units: int) -> tuple[Tensor | None, Tensor | None]:
    """Biases of what the input gives, in which others are contained, and of what is reset."""
    *_, b_input, b_state = weights
    if b_input is None or b_state is None:
        return None, None
    return b_input + F.pad(b_state[: 2 * units], (0, units)), b_state[2 * units :]


def _given(x: Tensor, weight: Tensor, bias: Tensor | None, backward: bool) -> Tensor:
    """What the input gives the gates, (steps, N, gates * units)."""
    given = F.linear(x.transpose(0, 1), weight, bias)
    return given.flip(0) if backward else given


def _stepped(results: Any, backward: bool) -> Stepped:
    """The sequences with the samples first, in the order of the input."""
    return Stepped(*((each.flip(0) if backward else each).transpose(0, 1) for each in results))
