"""Counterparts of recurrent layers: gates in Keras' order, and its number of biases."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.graph import ops
from mcubench.graph.ir import Weight
from mcubench.parity.building.site import CannotBuildError, Site, array, build

__all__: list[str] = []

_KERAS_GRU_GATES = (1, 0, 2)  # PyTorch: reset, update, new; Keras: update, reset, new


def _gates(tensor: NDArray[Any], order: tuple[int, ...]) -> NDArray[Any]:
    """Gates of a weight (gates * hidden, ...) in another order."""
    parts = np.split(tensor, len(order))
    return np.concatenate([parts[gate] for gate in order])


def _weights(cell: ops.Cell, kind: str) -> list[NDArray[Any]]:
    """Kernel (inputs, gates * hidden), recurrent kernel (hidden, gates * hidden), bias.

    Keras adds one bias to an LSTM's gates where PyTorch adds two. A GRU (with reset_after, which is PyTorch's form)
    needs both: shape (2, 3 * hidden).
    """
    order = _KERAS_GRU_GATES if kind == "gru" else tuple(range(4 if kind == "lstm" else 1))
    found = [_gates(array(each), order).T for each in (cell.weight_ih, cell.weight_hh)]
    if _is_biased(cell):
        none = np.zeros(len(cell.weight_hh.tensor), np.float32)
        biases = [none if each is None else _gates(array(each), order) for each in (cell.bias_ih, cell.bias_hh)]
        found.append(np.stack(biases) if kind == "gru" else np.sum(biases, axis=0))
    return found


def _is_biased(cell: ops.Cell) -> bool:
    return cell.bias_ih is not None or cell.bias_hh is not None


def _options(kind: str, cell: ops.Cell, nonlinearity: str) -> dict[str, Any]:
    options: dict[str, Any] = {"units": cell.weight_hh.tensor.shape[1], "use_bias": _is_biased(cell)}
    if kind == "gru":
        options["reset_after"] = True
    if kind == "rnn":
        options["activation"] = nonlinearity
    return options


@build.register
def _(op: ops.Recurrent, at: Site) -> Any:
    if not all(each is None or (isinstance(each, Weight) and not each.tensor.any()) for each in op.state):
        raise CannotBuildError("its initial state is not zero")
    kind = type(op).__name__.lower()
    options = _options(kind, op.cells[0], op.nonlinearity if isinstance(op, ops.RNN) else "tanh")
    options.update(return_sequences=True, return_state=True)
    weights = [each for cell in op.cells for each in _weights(cell, kind)]
    name = {"lstm": "LSTM", "gru": "GRU", "rnn": "SimpleRNN"}[kind]
    states_each = 2 if kind == "lstm" else 1
    if len(op.cells) == 1:
        sequence, *last = at.layer(name, at.x, weights, **options)
        return sequence, *(at.reshape(each, (1, op.hidden)) for each in last)
    wrapped = getattr(at.keras.layers, name)(name="forward", dtype="float32", **options)
    sequence, *last = at.layer("Bidirectional", at.x, weights, inner=wrapped, merge_mode="concat")
    both = [(last[each], last[each + states_each]) for each in range(states_each)]
    return sequence, *(at.op("stack", list(pair), axis=1) for pair in both)


@build.register
def _(op: ops.RecurrentCell, at: Site) -> Any:
    kind = op.kind.split("_")[0]
    options = _options(kind, op.cell, op.kind.split("_")[1])
    name = {"lstm": "LSTMCell", "gru": "GRUCell", "rnn": "SimpleRNNCell"}[kind]
    x, *state = (at.operand(each) for each in op.operands)
    _, new = at.layer(name, (x, list(state)), _weights(op.cell, kind), **options)
    return tuple(new) if kind == "lstm" else new[0] if isinstance(new, (list, tuple)) else new
