"""Gives a convolution the zeros that were put around its input: kernels pad as they go, without a padded copy."""

from __future__ import annotations

from dataclasses import replace

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node
from mcubench.graph.passes.rewrite import joined, only_reader, with_nodes

__all__ = ["fold_padding"]


def fold_padding(graph: Graph) -> Graph:
    """Adds the amounts of a `Pad` with zeros on spatial axes to the padding of the convolution that alone reads it."""
    readers = only_reader(graph)
    nodes = []
    folded: dict[Node, Node] = {}
    for each in graph.nodes:
        node = folded.pop(each, each)
        conv = readers.get(each)
        if conv is not None and isinstance(node.op, ops.Pad) and isinstance(conv.op, ops.Conv):
            rank = len(conv.op.kernel)
            around, elsewhere = node.op.padding[-rank:], node.op.padding[:-rank]
            zeros = node.op.mode == "constant" and node.op.value == 0
            if zeros and not any(map(any, elsewhere)) and min(map(min, around)) >= 0:
                padding = tuple(
                    (before + first, after + last)
                    for (before, after), (first, last) in zip(conv.op.padding, around, strict=True)
                )
                folded[conv] = replace(
                    joined(node, conv, replace(conv.op, padding=padding)), name=conv.name, path=conv.path
                )
                continue
        nodes.append(node)
    return with_nodes(graph, nodes)
