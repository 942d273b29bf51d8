"""What a node and a Keras layer are, in common words: so two ways of writing a network can be laid side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mcubench.graph import Node, ops
from mcubench.parity.comparing.keras_costs import keras_params
from mcubench.parity.comparing.recording import Step
from mcubench.parity.naming import LAYERS

__all__ = [
    "activation_of",
    "core",
    "cuts",
    "holds_weights",
    "is_activation",
    "loses",
    "node_kind",
    "only_moves",
    "step_kinds",
]

_KERAS_KINDS = {
    **{f"Conv{rank}D": "Conv" for rank in (1, 2, 3)},
    **{f"DepthwiseConv{rank}D": "DepthwiseConv" for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": "TransposedConv" for rank in (1, 2, 3)},
    **{f"MaxPooling{rank}D": "max" for rank in (1, 2, 3)},
    **{f"GlobalMaxPooling{rank}D": "max" for rank in (1, 2, 3)},
    **{f"AveragePooling{rank}D": "mean" for rank in (1, 2, 3)},
    **{f"GlobalAveragePooling{rank}D": "mean" for rank in (1, 2, 3)},
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "RMSNormalization": "RMSNorm",
    "SimpleRNN": "RNN",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "Subtract": "sub",
    "Multiply": "mul",
    "Divide": "div",
    "Concatenate": "Concat",
}
_INSIDE = {"Bidirectional": "forward_layer", "TimeDistributed": "layer"}
_SAME_NAMES = ("Dense", "LSTM", "GRU", "PReLU", "Embedding", "EinsumDense", "Softmax")
_ACTIVATIONS = {"hard_silu": "hardswish", "hard_sigmoid": "hardsigmoid", "swish": "silu", "hard_tanh": "relu_n1_to_1"}
_END_WITH_ACTIVATION = ("Dense", "EinsumDense", "Conv", "DepthwiseConv", "SeparableConv")

# They move elements, or do nothing at inference; the other side may have them elsewhere or not at all.
_MOVES = (ops.Reshape, ops.Permute, ops.Expand, ops.Pad, ops.FakeQuantize)
_KERAS_MOVES = ("Flatten", "Reshape", "Permute", "ZeroPadding", "Cropping", "InputLayer", "Identity", "Activity", "Pad")
_CUTS = (ops.Slice, ops.Select, ops.Take, ops.Pad)
_STEPS = ("round", "floor", "ceil", "trunc", "sign", "heaviside")
_KERAS_CUTS = ("Cropping", "GetItem", "Take", "Slice", "Split")
_KERAS_DROPS = ("Dropout", "SpatialDropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")


def only_moves(thing: Node | Step) -> bool:
    """Whether it makes no new numbers at inference."""
    if isinstance(thing, Node):
        return isinstance(thing.op, _MOVES)
    return type(core(thing.operation)).__name__.startswith(_KERAS_MOVES + _KERAS_DROPS)


def cuts(thing: Node | Step) -> bool:
    """Whether it takes a part of its input as it is; padding does by negative amounts."""
    if isinstance(thing, Node):
        return isinstance(thing.op, _CUTS) and thing.output.size < thing.inputs[0].size
    is_cut = type(core(thing.operation)).__name__.startswith(_KERAS_CUTS) and len(thing.inputs) > 0
    return is_cut and math.prod(thing.shape) < math.prod(thing.inputs[0])


def loses(node: Node) -> bool:
    """Whether different values may well become the same in it, so that it hides a mistake: a mean, a class, a step."""
    op = node.op
    if isinstance(op, ops.Pool):
        places = node.output.shape[len(node.output.shape) - len(op.kernel) - 1 : -1]
        return op.kind != "max" or set(places) == {1}
    discrete = not node.output.dtype.is_floating_point or node_kind(node) in _STEPS
    return discrete or isinstance(op, (ops.Reduce, ops.AdaptivePool))


def core(operation: Any) -> Any:
    """The layer inside wrappers, or the layer itself: what a wrapper does is what is in it."""
    while (inside := _INSIDE.get(type(operation).__name__)) and hasattr(operation, inside):
        operation = getattr(operation, inside)
    return operation


def holds_weights(thing: Node | Step) -> bool:
    """Whether it has weights, by which the two sides are paired first."""
    if isinstance(thing, Node):  # arithmetic with a constant is no layer to whoever writes a model
        return isinstance(thing.op, LAYERS) and any(thing.op.weights())
    return keras_params(thing.operation) > 0 and thing.kind != "Normalization"


def node_kind(node: Node) -> str:
    """The kind of a node's operation; of an activation its name in PyTorch."""
    op = node.op
    if isinstance(op, ops.Activation):
        return op.kind
    if isinstance(op, ops.Elementwise):
        return op.kind.partition(".")[0]
    if isinstance(op, (ops.Pool, ops.AdaptivePool)):
        return "max" if op.kind == "max" else "mean"
    if isinstance(op, ops.Reduce):
        return {"amax": "max"}.get(op.kind, op.kind)
    return type(op).__name__


def is_activation(node: Node) -> bool:
    """Whether it is a function of single values, or softmax."""
    return isinstance(node.op, (ops.Activation, ops.Softmax))


def step_kinds(step: Step) -> tuple[str, ...]:
    """The kinds of nodes that a Keras layer stands for, without the activation it ends with; mostly one."""
    layer = core(step.operation)
    if type(layer).__name__.startswith("SeparableConv") and step.is_keras:
        return "DepthwiseConv", "Conv"
    return (_kind(layer, step),)


def _kind(layer: Any, step: Step) -> str:
    name = type(layer).__name__
    if not step.is_keras:
        return name
    if name in ("Conv1D", "Conv2D") and 1 < layer.groups == step.inputs[0][-1]:
        return "DepthwiseConv"
    special: dict[str, Callable[[], str]] = {
        "Activation": lambda: activation_of(step),
        "ReLU": lambda: "relu6" if getattr(layer, "max_value", None) == 6 else "relu",
        "RNN": lambda: {"LSTMCell": "LSTM", "GRUCell": "GRU"}.get(type(layer.cell).__name__, "RNN"),
    }
    if name in special:
        return special[name]()
    if name.endswith("Cell"):
        return "RecurrentCell"
    return _KERAS_KINDS.get(name, name if name in _SAME_NAMES else name.lower())


def activation_of(step: Step) -> str:
    """The activation that a layer ends with, by PyTorch's name; recurrent layers have theirs inside."""
    layer = core(step.operation)
    kind = type(layer).__name__
    if kind != "Activation" and not kind.startswith(_END_WITH_ACTIVATION):
        return "linear"
    activation = getattr(layer, "activation", None)
    if activation is None:
        return "linear"
    if hasattr(activation, "get_config"):  # a layer as activation
        name = type(activation).__name__
        return {"ReLU": "relu", "LeakyReLU": "leaky_relu", "ELU": "elu"}.get(name, name)
    name = getattr(activation, "__name__", type(activation).__name__)
    return "Softmax" if name == "softmax" else _ACTIVATIONS.get(name, name)
