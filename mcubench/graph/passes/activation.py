"""Brings activations to the layers that they can be fused into."""

from __future__ import annotations

from dataclasses import replace

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node
from mcubench.graph.passes.rewrite import joined, only_reader, with_nodes

__all__ = ["activation_before_pool", "fuse_activation"]

# Operations whose kernels end with an activation for nothing.
_ENDS_WITH_ACTIVATION = (ops.Dense, ops.Conv, ops.TransposedConv, ops.Elementwise)
_FUSIBLE_ELEMENTWISE = ("add", "sub", "mul", "div")


def activation_before_pool(graph: Graph) -> Graph:
    """Moves a ReLU that follows a max-pool in front of it, where it can be fused.

    max(relu(x)) = relu(max(x)): pooling first is cheaper in float training, but on a device a fused ReLU costs nothing.
    """
    readers = only_reader(graph)
    nodes = list(graph.nodes)
    for layer in graph.nodes:
        pool = readers.get(layer)
        activation = readers.get(pool) if pool is not None else None
        if pool is None or activation is None or not _takes_activation(layer):
            continue
        if isinstance(pool.op, ops.Pool) and pool.op.kind == "max" and _is_fusible(activation):
            before = replace(pool.output, name=f"{activation.output.name}.before_pool", shape=layer.output.shape)
            nodes[nodes.index(pool)] = replace(activation, inputs=(layer.output,), outputs=(before,))
            nodes[nodes.index(activation)] = replace(pool, inputs=(before,), outputs=activation.outputs)
    return with_nodes(graph, nodes)


def fuse_activation(graph: Graph) -> Graph:
    """Fuses ReLU, ReLU6 and clipping to -1 .. 1 into the layer before them."""
    readers = only_reader(graph)
    dropped = set()
    nodes = []
    for node in graph.nodes:
        if node in dropped:
            continue
        following = readers.get(node)
        if following is not None and _takes_activation(node) and _is_fusible(following):
            assert isinstance(following.op, ops.Activation)
            dropped.add(following)
            nodes.append(joined(node, following, replace(node.op, activation=following.op.kind)))  # type: ignore[type-var]
        else:
            nodes.append(node)
    return with_nodes(graph, nodes)


def _is_fusible(node: Node) -> bool:
    return isinstance(node.op, ops.Activation) and node.op.kind in ops.FUSIBLE


def _takes_activation(node: Node) -> bool:
    op = node.op
    if not isinstance(op, _ENDS_WITH_ACTIVATION) or op.activation is not None:
        return False
    return not isinstance(op, ops.Elementwise) or op.kind.partition(".")[0] in _FUSIBLE_ELEMENTWISE
