"""What passes have in common: replacing values, and joining a node with the only one that reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from mcubench.graph.ir import Graph, Node, Op, Value

__all__ = ["joined", "only_reader", "with_nodes"]


def with_nodes(graph: Graph, nodes: Iterable[Node], renamed: Mapping[Value, Value] | None = None) -> Graph:
    """The graph with other nodes.

    Args:
        graph: The graph.
        nodes: Its new nodes.
        renamed: Values that are read no more, each with the one that is read instead.
    """
    names = renamed or {}

    def final(value: Value) -> Value:
        while value in names:
            value = names[value]
        return value

    return replace(
        graph,
        nodes=tuple(replace(node, inputs=tuple(map(final, node.inputs))) for node in nodes),
        outputs=tuple(map(final, graph.outputs)),
    )


def only_reader(graph: Graph) -> dict[Node, Node]:
    """Nodes whose single output is read by one other node and nobody else, with that node."""
    consumers = graph.consumers()
    return {
        node: consumers[node.output][0]
        for node in graph.nodes
        if len(node.outputs) == 1 and len(consumers[node.output]) == 1 and node.output not in graph.outputs
    }


def joined(first: Node, second: Node, op: Op) -> Node:
    """One node that does what two in a row did, in the place of the first."""
    return replace(first, op=op, outputs=second.outputs, calls=first.calls + second.calls)
