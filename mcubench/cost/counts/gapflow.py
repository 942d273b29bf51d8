"""GreenWaves' nntool, the front end of GapFlow: the column of operations in the table that it prints of a graph.

Source: ``compute_load`` of the nodes in github.com/GreenWaves-Technologies/gap_sdk, tools/nntool/nntool/graph/types.
"""

from __future__ import annotations

import math
from functools import singledispatch

from mcubench.cost.counts.parts import PRODUCTS, Part, Parts, no_rule
from mcubench.graph import ops
from mcubench.graph.ir import Node, Op

__all__ = ["gapflow_parts"]

# activations.py: whatever follows a layer costs nothing, fused or not.
_ACTIVATIONS = {
    "relu", "relu6", "relu_n1_to_1", "leaky_relu", "hardswish", "hardsigmoid", "sigmoid", "tanh"
}  # fmt: skip


@singledispatch
def gapflow_parts(op: Op, node: Node) -> Parts:
    """The parts that nntool counts for an operation.

    Args:
        op: The node's operation, which chooses the rule.
        node: For the shapes of what it reads and makes.
    """
    return no_rule(op.label)


@gapflow_parts.register(ops.Reshape)
@gapflow_parts.register(ops.Permute)
@gapflow_parts.register(ops.Concat)
@gapflow_parts.register(ops.Expand)
def _(op: Op, node: Node) -> Parts:
    # tensor_shape.py: they have no count, and the total passes over them.
    return (Part("moves", 0),)


@gapflow_parts.register
def _(op: ops.Conv, node: Node) -> Parts:
    # conv2d.py: no biases.
    return (Part(PRODUCTS, node.output.size * math.prod(op.weight.tensor.shape[1:])),)


@gapflow_parts.register
def _(op: ops.Dense, node: Node) -> Parts:
    # linear.py: no biases.
    return (Part(PRODUCTS, node.output.size * op.weight.tensor.shape[1]),)


@gapflow_parts.register
def _(op: ops.Pool, node: Node) -> Parts:
    # pooling.py: a window for each output element, of which an average takes one more for the division.
    windows = node.output.size * math.prod(op.kernel)
    return (Part("pooling", windows + (0 if op.kind == "max" else node.output.size)),)


@gapflow_parts.register
def _(op: ops.Reduce, node: Node) -> Parts:
    # global_pooling.py, which is what it makes of means, sums and maxima over axes: it leaves the window out.
    if op.kind not in ("mean", "sum", "amax", "amin"):
        return no_rule(op.label)
    return (Part("reductions", node.output.size + (0 if op.kind == "amax" else 1)),)


@gapflow_parts.register
def _(op: ops.Softmax, node: Node) -> Parts:
    return no_rule("log-softmax") if op.log or op.causal else (Part("softmax", 2 * node.inputs[0].size),)


@gapflow_parts.register
def _(op: ops.Activation, node: Node) -> Parts:
    return (Part(op.kind, 0),) if op.kind in _ACTIVATIONS else no_rule(op.label)


@gapflow_parts.register
def _(op: ops.Elementwise, node: Node) -> Parts:
    # tensor_arithmetic.py: two for each element of the output.
    kind = op.kind.partition(".")[0]
    return (Part(kind, 2 * node.output.size),) if kind in ("add", "sub", "mul", "div") else no_rule(op.label)


@gapflow_parts.register
def _(op: ops.LSTM, node: Node) -> Parts:
    # lstm.py multiplies the steps of the input by all its elements, in which they are already.
    sequence, hidden = node.inputs[0], op.hidden
    steps = sequence.shape[0]
    one_way = 4 * hidden * steps * (hidden + sequence.size) + 7 * hidden * steps
    return (Part("LSTM (nntool takes the steps of its input twice)", len(op.cells) * one_way),)


@gapflow_parts.register(ops.GRU)
@gapflow_parts.register(ops.RNN)
def _(op: ops.Recurrent, node: Node) -> Parts:
    # rnn.py: a placeholder, right for no recurrent layer.
    return (Part(f"{type(op).__name__} (nntool takes twice its input)", len(op.cells) * 2 * node.inputs[0].size),)
