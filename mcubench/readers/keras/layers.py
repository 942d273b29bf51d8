"""Dense layers, norms and recurrence."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from mcubench.readers.keras.functions import activated
from mcubench.readers.keras.site import ATEN, Site, rule

__all__: list[str] = []


@rule("Dense")
def _dense(at: Site) -> fx.Node:
    made = at.call(ATEN.linear.default, at.x, at.weight("kernel", (1, 0)), at.weight("bias"))
    return activated(at, made)


@rule("BatchNormalization")
def _batch_norm(at: Site) -> fx.Node:
    x = at.x
    rank = len(at.shape(x))
    axis = at.option("axis")
    (axis,) = axis if isinstance(axis, (tuple, list)) and len(axis) == 1 else (axis,)
    last = rank > 2 and axis % rank == rank - 1
    if not last and axis % rank != 1:
        raise at.refuse(f"its axis is {axis} of {rank}")
    statistics = (at.weight("moving_mean"), at.weight("moving_variance"))
    made = at.call(
        ATEN.batch_norm.default,
        at.channels_first(x) if last else x,
        at.weight("gamma"),
        at.weight("beta"),
        *statistics,
        False,
        1 - float(at.option("momentum")),  # Keras' is what stays, PyTorch's what comes
        float(at.option("epsilon")),
        False,
    )
    return at.channels_last(made) if last else made


@rule("LayerNormalization")
def _layer_norm(at: Site) -> fx.Node:
    x = at.x
    rank, axis = len(at.shape(x)), at.option("axis")
    axes = [each % rank for each in (axis if isinstance(axis, (tuple, list)) else [axis])]
    if at.option("rms_scaling") or axes != sorted(set(axes)) or axes[0] == 0:
        raise at.refuse(f"it scales by the root mean square, or its axes are {axes}")
    order = [*(each for each in range(rank) if each not in axes), *axes]
    sizes = [at.shape(x)[each] for each in axes]
    made = at.call(
        ATEN.layer_norm.default,
        at.permuted(x, order),
        sizes,
        at.weight("gamma"),
        at.weight("beta"),
        float(at.option("epsilon")),
    )
    return at.permuted(made, [order.index(each) for each in range(rank)])


_KINDS: dict[str, tuple[str, tuple[int, ...]]] = {  # PyTorch's name, and where it has Keras' gates
    "LSTM": ("lstm", (0, 1, 2, 3)),
    "GRU": ("gru", (1, 0, 2)),  # Keras: update, reset, new; PyTorch: reset, update, new
    "SimpleRNN": ("rnn", (0,)),
}


@rule(*_KINDS)
def _recurrent(at: Site) -> fx.Node:
    if at.option("go_backwards"):
        raise at.refuse("it goes backwards")
    return _run(at, [at.layer], at.option("return_sequences"))


@rule("Bidirectional")
def _bidirectional(at: Site) -> fx.Node:
    forward, backward = at.layer.forward_layer, at.layer.backward_layer
    if at.option("merge_mode") != "concat":
        raise at.refuse(f"it merges both directions by {at.option('merge_mode')}")
    if type(forward) is not type(backward) or type(forward).__name__ not in _KINDS:
        raise at.refuse("its two layers are of two kinds")
    if forward.go_backwards or not backward.go_backwards:
        raise at.refuse("its first layer goes backwards")
    return _run(at, [forward, backward], forward.return_sequences)


def _run(at: Site, layers: list[Any], sequences: bool) -> fx.Node:
    name, _ = _KINDS[type(layers[0]).__name__]
    function, weights = None, []
    for index, layer in enumerate(layers):
        function = _function_of(at, layer, function)
        weights += _cell(at, layer, "" if len(layers) == 1 else ("forward.", "backward.")[index])
    x, hidden = at.x, int(layers[0].units)
    if any(int(layer.units) != hidden or layer.use_bias != layers[0].use_bias for layer in layers):
        raise at.refuse("its two layers differ")
    state = at.call(ATEN.zeros.default, [len(layers), len(x.meta["val"]), hidden])
    target = {"lstm": ATEN.lstm.input, "gru": ATEN.gru.input}.get(name) or getattr(ATEN, f"rnn_{function}").input
    initial = [state, state] if name == "lstm" else state
    biased, both = bool(layers[0].use_bias), len(layers) > 1
    made = at.call(target, x, initial, weights, biased, 1, 0.0, False, both, True)
    if sequences:
        return at.item(made, 0)
    if both:  # the last state of each direction
        return at.reshaped(at.call(ATEN.permute.default, at.item(made, 1), [1, 0, 2]), [2 * hidden])
    return at.call(ATEN.select.int, at.item(made, 0), 1, at.shape(x)[1] - 1)


def _function_of(at: Site, layer: Any, before: str | None) -> str:
    """Name of the activation, where PyTorch has that.

    Raises:
        UserError: If it has not, or the layer does what PyTorch's does not.
    """
    options, kind = layer.get_config(), type(layer).__name__
    if options["stateful"]:
        raise at.refuse("it keeps its state from one call to the next")
    if options["return_state"]:
        raise at.refuse("it returns its state")
    if kind == "GRU" and not options["reset_after"]:
        raise at.refuse("it resets before the product: PyTorch has reset_after=True only")
    if kind != "SimpleRNN" and options["recurrent_activation"] != "sigmoid":
        raise at.refuse(f"its gates have the function {options['recurrent_activation']}")
    function = str(options["activation"])
    if function not in (("tanh", "relu") if kind == "SimpleRNN" else ("tanh",)) or before not in (None, function):
        raise at.refuse(f"its activation is {function}")
    return function


def _cell(at: Site, layer: Any, prefix: str) -> list[fx.Node]:
    """Weights of a direction, in PyTorch's order of gates and of weights."""
    _, order = _KINDS[type(layer).__name__]
    cell, hidden = layer.cell, int(layer.units)

    def gates(tensor: Tensor) -> Tensor:
        parts = tensor.split(hidden)
        return torch.cat([parts[gate] for gate in order])

    found = [
        at.stored(f"{prefix}{name}", gates(at.array(getattr(cell, name)).T)) for name in ("kernel", "recurrent_kernel")
    ]
    if not layer.use_bias:
        return found
    bias = at.array(cell.bias)
    if bias.ndim == 2:
        both = zip(("bias", "recurrent_bias"), bias, strict=True)
        return [*found, *(at.stored(f"{prefix}{name}", gates(each)) for name, each in both)]
    none = at.call(ATEN.zeros.default, [len(order) * hidden])  # PyTorch has two biases
    return [*found, at.stored(f"{prefix}bias", gates(bias)), none]
