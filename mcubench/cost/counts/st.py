"""ST's STM32Cube.AI: the MACC in its reports, as it prints them for a float model.

Source: the MACC by layer in published reports of versions 5.2 and later. What no report settles has no rule.
"""

from __future__ import annotations

import math
from functools import singledispatch

from mcubench.cost.counts.parts import PRODUCTS, Part, Parts, no_rule
from mcubench.graph import ops
from mcubench.graph.ir import Node, Op, Weight

__all__ = ["st_parts"]

_ACTIVATIONS = {"relu": 1, "sigmoid": 10}
_ARITHMETIC = {"add": 1, "mul": 1, "div": 5}


@singledispatch
def st_parts(op: Op, node: Node) -> Parts:
    """The parts of the MACC of an operation.

    Args:
        op: The node's operation, which chooses the rule.
        node: For the shapes of what it reads and makes.
    """
    return no_rule(op.label)


@st_parts.register
def _(op: ops.Reshape, node: Node) -> Parts:
    return (Part("reshape", 0),)


@st_parts.register
def _(op: ops.Conv, node: Node) -> Parts:
    products = Part(PRODUCTS, node.output.size * math.prod(op.weight.tensor.shape[1:]))
    return (products, *_bias(op.bias, "bias"), *_fused(op.activation, node))


@st_parts.register
def _(op: ops.Dense, node: Node) -> Parts:
    products = Part(PRODUCTS, node.output.size * op.weight.tensor.shape[1])
    return (products, *_bias(op.bias, "bias of dense layers (none in version 5.2)"), *_fused(op.activation, node))


@st_parts.register
def _(op: ops.Pool, node: Node) -> Parts:
    return (Part("pooling", node.output.size * math.prod(op.kernel)),)


@st_parts.register
def _(op: ops.Reduce, node: Node) -> Parts:
    # Of what is read: an element of the mean itself stands for many.
    return (Part("mean", 2 * node.inputs[0].size),) if op.kind == "mean" else no_rule(op.label)


@st_parts.register
def _(op: ops.Softmax, node: Node) -> Parts:
    return no_rule("log-softmax") if op.log or op.causal else (Part("softmax", 15 * node.output.size),)


@st_parts.register
def _(op: ops.Activation, node: Node) -> Parts:
    return _activation(op.kind, node)


@st_parts.register
def _(op: ops.Elementwise, node: Node) -> Parts:
    kind = op.kind.partition(".")[0]
    if kind not in _ARITHMETIC:
        return no_rule(op.label)
    return (Part(kind, _ARITHMETIC[kind] * node.output.size), *_fused(op.activation, node))


@st_parts.register
def _(op: ops.FakeQuantize, node: Node) -> Parts:
    return (Part("quantise", 2 * node.output.size),)


@st_parts.register
def _(op: ops.Permute, node: Node) -> Parts:
    return (Part("transpose", node.output.size // 2),)


@st_parts.register
def _(op: ops.LSTM, node: Node) -> Parts:
    return _recurrent(op, node, gates=4, more=5)


@st_parts.register
def _(op: ops.GRU, node: Node) -> Parts:
    return _recurrent(op, node, gates=3, more=2)


def _recurrent(op: ops.Recurrent, node: Node, gates: int, more: int) -> Parts:
    """The matrices of all gates at every step, and a few operations for each element of the state."""
    steps, inputs = node.inputs[0].shape
    hidden, runs = op.hidden, len(op.cells) * steps
    return (
        Part(PRODUCTS, runs * gates * hidden * (inputs + hidden)),
        Part(f"gates of {type(op).__name__}", runs * more * hidden),
    )


def _bias(bias: Weight | None, reason: str) -> Parts:
    """One for each channel, not for each element."""
    return () if bias is None else (Part(reason, bias.size),)


def _fused(activation: str | None, node: Node) -> Parts:
    """What our graph fuses is a layer of its own in a float model, and is counted, in one sum with its layer."""
    return () if activation is None else _activation(activation, node)


def _activation(kind: str, node: Node) -> Parts:
    if kind not in _ACTIVATIONS:
        return no_rule(kind)
    reason = "relu (none where it is folded, as in int8)" if kind == "relu" else kind
    return (Part(reason, _ACTIVATIONS[kind] * node.output.size),)
