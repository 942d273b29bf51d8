"""Rules for recurrent layers, with the gates put in torch's order."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mcubench.readers.onnx.reading import At, Known, Value, aten, reads
from mcubench.readers.onnx.shapes import taken

__all__: list[str] = []

# Gates of ONNX in the order that torch has them (LSTM: i o f c as i f g o; GRU: z r h as r z n).
_GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}

_SEQUENCES = 16  # for one sample

_PLAIN = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@reads("LSTM", "GRU", "RNN")
def _recurrent(at: At) -> tuple[Value | None, ...]:
    kind, x = at.node.operator, at.value(0)
    directions = 2 if at.attributes["direction"] == "bidirectional" else 1
    if at.rank(x) != 3:
        at.refuse(f"its input has {at.rank(x)} axes; it takes steps, batch and features")
    steps, sequences, _ = at.traced(x)
    hidden = _checked(at, kind, directions, steps)
    parameters = _parameters(at, kind, directions, hidden)
    initial = [at.optional(index) for index in ((5, 6) if kind == "LSTM" else (5,))]
    zeros = at.constant(torch.zeros(()))
    state = [
        at.call(aten.expand.default, zeros, [directions, sequences, hidden]) if each is None else _spread(at, each, x)
        for each in initial
    ]
    backwards = at.attributes["direction"] == "reverse"
    if backwards:
        x = taken(at, x, 0, range(steps - 1, -1, -1))
    if at.reading.samples > 1 or sequences == 1:
        sequence, *last = _layer(at, x, state, parameters, directions)
    else:  # several sequences of one sample, one by one
        if sequences > _SEQUENCES:
            at.refuse(f"it runs {sequences} sequences for one sample; at most {_SEQUENCES} are read")
        each = [_layer(at, *_sequence(at, index, x, *state), parameters, directions) for index in range(sequences)]
        sequence, *last = (at.call(aten.cat.default, list(parts), 1) for parts in zip(*each, strict=True))
    if backwards:
        sequence = taken(at, sequence, 0, range(steps - 1, -1, -1))
    split = at.reshaped(sequence, (steps, at.shape(x)[1], directions, hidden))
    return at.call(aten.permute.default, split, [0, 2, 1, 3]), *last


def _sequence(at: At, index: int, x: Value, *state: Value) -> tuple[Value, list[Value]]:
    """One of several, with its initial state."""
    one, *rest = (at.call(aten.slice.Tensor, each, 1, index, index + 1) for each in (x, *state))
    return one, rest


def _layer(at: At, x: Value, state: list[Value], parameters: list[Value], directions: int) -> list[Value]:
    """The sequence that a layer makes, and its last states."""
    options = (True, 1, 0.0, False, directions == 2, False)
    if at.node.operator == "LSTM":
        return at.calls(3, aten.lstm.input, x, state, parameters, *options)
    name = "gru" if at.node.operator == "GRU" else f"rnn_{_activations(at, directions)[0].lower()}"
    return at.calls(2, getattr(aten, name).input, x, state[0], parameters, *options)


def _activations(at: At, directions: int) -> list[str]:
    given: list[str] = at.attributes.get("activations") or _PLAIN.get(at.node.operator, ["Tanh"]) * directions
    return given[:directions] if at.node.operator == "RNN" else given  # ONNX's default has two for one direction


def _checked(at: At, kind: str, directions: int, steps: int) -> int:
    """The size of the hidden state of a layer that torch has.

    Raises:
        UserError: If it is another one.
    """
    given = at.attributes
    if given["direction"] not in ("forward", "reverse", "bidirectional"):
        at.refuse(f"its direction is {given['direction']!r}")
    if given.get("clip") or given.get("input_forget") or given.get("layout") or at.has(7):
        at.refuse("it clips, couples its gates, has peepholes, or its batch first (layout=1)")
    if kind == "GRU" and not given["linear_before_reset"]:
        at.refuse("its reset gate is applied before the recurrent product (linear_before_reset=0)")
    activations, plain = _activations(at, directions), _PLAIN.get(kind)
    if plain is None:
        fits = activations in (["Tanh"] * directions, ["Relu"] * directions)
    else:
        fits = activations == plain * directions
    if not fits or given.get("activation_alpha") or given.get("activation_beta"):
        at.refuse(f"its activations are {', '.join(activations)}")
    if at.has(4) and set(at.numbers(4, "the length of its sequences")) != {steps}:
        at.refuse("its sequences are of different lengths")
    hidden = given.get("hidden_size", at.shape(at.value(2))[-1])
    if not 0 < hidden <= 1 << 20:
        at.refuse(f"its hidden state is of size {hidden}")
    return int(hidden)


def _parameters(at: At, kind: str, directions: int, hidden: int) -> list[Value]:
    """Weights and biases of each direction, in torch's order."""
    gates, x = _GATES[kind], at.value(0)
    rows = len(gates) * hidden
    shapes = ((directions, rows, at.shape(x)[2]), (directions, rows, hidden), (directions, 2 * rows))
    found: list[Value] = []
    tensors: list[tuple[str, Tensor]] = []
    for index, shape in zip((1, 2, 3), shapes, strict=True):
        if index == 3 and not at.has(3):
            tensors.append((f"{at.node.name}.B", torch.zeros(shape)))
            continue
        tensor = at.known(index, "what it multiplies with")
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
            at.refuse(f"its input {index} is of shape {tuple(tensor.shape)} in place of {shape}, or not of float32")
        tensors.append((at.node.inputs[index], tensor))
    (input_name, inputs), (hidden_name, recurrent), (bias_name, biases) = tensors
    for direction in range(directions):
        end = f".{direction}" if directions > 1 else ""
        pair = biases[direction].split(rows)
        for name, tensor in (
            (f"{input_name}{end}", inputs[direction]),
            (f"{hidden_name}{end}", recurrent[direction]),
            (f"{bias_name}{end}.input", pair[0]),
            (f"{bias_name}{end}.hidden", pair[1]),
        ):
            found.append(at.constant(_ordered(tensor, gates, hidden), name))
    return found


def _ordered(tensor: Tensor, gates: Sequence[int], hidden: int) -> Tensor:
    """Rows of each gate in another order, in memory of their own."""
    parts = tensor.split(hidden)
    return torch.cat([parts[gate] for gate in gates])


def _spread(at: At, state: Value, x: Value) -> Value:
    """An initial state; a constant one is the same for all samples of the batch."""
    if isinstance(state, Known) and at.rank(state) == 3 and at.shape(state)[1] == 1:
        return at.call(aten.expand.default, state, [at.shape(state)[0], at.traced(x)[1], at.shape(state)[2]])
    return state
