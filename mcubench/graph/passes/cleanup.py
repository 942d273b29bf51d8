"""Drops nodes that do nothing on a device, and joins reshapes and permutations that follow each other."""

from __future__ import annotations

from dataclasses import replace

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node, Value, reaching
from mcubench.graph.passes.rewrite import with_nodes

__all__ = ["drop_identities", "merge_moves"]


def drop_identities(graph: Graph) -> Graph:
    """Drops fake quantisation, and reshapes and permutations that change nothing."""
    renamed: dict[Value, Value] = {}
    kept = []
    for node in graph.nodes:
        if _is_identity(node):
            renamed[node.output] = node.inputs[0]
        else:
            kept.append(node)
    return with_nodes(graph, kept, renamed)


def _is_identity(node: Node) -> bool:
    op = node.op
    if isinstance(op, ops.Permute):
        return op.axes == tuple(range(len(op.axes)))
    return isinstance(op, ops.FakeQuantize) or (
        isinstance(op, (ops.Reshape, ops.Expand)) and node.inputs[0].shape == node.output.shape
    )


def merge_moves(graph: Graph) -> Graph:
    """Joins a reshape with a reshape before it, and a permutation with a permutation.

    Permutations that move no element are written as reshapes; what nobody reads any more is dropped.
    """
    made: dict[Value, Node] = {}
    nodes = []
    for each in graph.nodes:
        node = each
        before = made.get(node.inputs[0]) if node.inputs else None
        if before is not None and isinstance(node.op, ops.Permute) and isinstance(before.op, ops.Permute):
            axes = tuple(before.op.axes[axis] for axis in node.op.axes)
            node = replace(node, op=ops.Permute(axes), inputs=before.inputs)
        if isinstance(node.op, ops.Permute) and _moves_nothing(node):
            node = replace(node, op=ops.Reshape(node.output.shape))
        before = made.get(node.inputs[0]) if node.inputs else None
        if before is not None and isinstance(node.op, ops.Reshape) and isinstance(before.op, ops.Reshape):
            node = replace(node, inputs=before.inputs)
        made.update(dict.fromkeys(node.outputs, node))
        nodes.append(node)
    graph = drop_identities(replace(graph, nodes=tuple(nodes)))
    return replace(graph, nodes=reaching(graph.nodes, graph.outputs))


def _moves_nothing(node: Node) -> bool:
    """Whether the axes longer than 1 stay in order, so that the elements do."""
    assert isinstance(node.op, ops.Permute)
    long = [axis for axis in node.op.axes if node.inputs[0].shape[axis] > 1]
    return long == sorted(long)
