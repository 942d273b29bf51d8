"""Reads elements and wholes where they come from: what was put together and taken apart again need not exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Input, Node, Op, Value, reaching
from mcubench.graph.passes.rewrite import with_nodes

__all__ = ["Element", "element", "join_parts", "read_parts", "with_axis_first"]


@dataclass(frozen=True)
class Element:
    """What stands at one place along an axis of a value, in whatever shape.

    Attributes:
        source: The value.
        axis: The axis.
        index: The place.
    """

    source: Value
    axis: int
    index: int


def element(value: Value, producers: Mapping[Value, Node]) -> Element | None:
    """What a value is an element of; ``None`` if it is made in another way."""
    node = producers.get(value)
    while node is not None and isinstance(node.op, ops.Reshape):
        node = producers.get(node.inputs[0])
    if node is not None and isinstance(node.op, ops.Select):
        return Element(node.inputs[0], node.op.axis, node.op.index)
    if node is not None and isinstance(node.op, ops.Slice) and node.output.shape[node.op.axis] == 1:
        return Element(node.inputs[0], node.op.axis, node.op.start)
    return None


def with_axis_first(source: Value, axis: int, shape: tuple[int, ...], node: Node) -> tuple[list[Node], Value]:
    """A value with one axis before all others, in a shape; and the nodes that it takes, with the names of another."""
    nodes: list[Node] = []
    value = source

    def append(name: str, op: Op, shape: tuple[int, ...]) -> Value:
        made = replace(source, name=f"{node.name}.{name}", shape=shape)
        nodes.append(Node(made.name, op, (value,), (made,), node.path))
        return made

    if axis:
        axes = (axis, *(each for each in range(len(source.shape)) if each != axis))
        value = append("moved", ops.Permute(axes), tuple(source.shape[each] for each in axes))
    if value.shape != shape:
        value = append("shaped", ops.Reshape(shape), shape)
    return nodes, value


def read_parts(graph: Graph) -> Graph:
    """Selects what is one element of a concatenation from the part that has it, as ``h_n[-1]`` of two layers does."""
    producers = graph.producers()
    renamed: dict[Value, Value] = {}
    nodes = []
    for each in graph.nodes:
        node = _from_part(each, producers)
        if (alone := _the_only(node, producers)) is not None:
            renamed[node.output] = alone
            continue
        producers.update(dict.fromkeys(node.outputs, node))
        nodes.append(node)
    graph = with_nodes(graph, nodes, renamed)
    return replace(graph, nodes=reaching(graph.nodes, graph.outputs))


def _from_part(node: Node, producers: Mapping[Value, Node]) -> Node:
    """The node, reading the part that has its element, if it selects along the axis of a concatenation."""
    if not isinstance(node.op, ops.Select):
        return node
    axis, index = node.op.axis, node.op.index
    whole = producers.get(node.inputs[0])
    if whole is None or not isinstance(whole.op, ops.Concat) or whole.op.axis != axis:
        return node
    for operand in whole.op.operands:
        if not isinstance(operand, Input):
            return node  # a constant among the parts
        part = whole.inputs[operand.index]
        if index < part.shape[axis]:
            return _from_part(replace(node, op=ops.Select(axis, index), inputs=(part,)), producers)
        index -= part.shape[axis]
    raise AssertionError(f"{node.name} selects behind the last part")


def _the_only(node: Node, producers: Mapping[Value, Node]) -> Value | None:
    """What was given an axis that a selection takes away again."""
    before = producers.get(node.inputs[0]) if isinstance(node.op, ops.Select) else None
    if before is None or not isinstance(before.op, ops.Reshape):
        return None
    value = before.inputs[0]
    return value if value.shape == node.output.shape else None


def join_parts(graph: Graph) -> Graph:
    """Reads a value itself in place of a concatenation of all its elements in order, as ``torch.stack`` makes it."""
    producers = graph.producers()
    renamed: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        made, whole = _whole(node, producers) or ([node], node.output)
        nodes += made
        if whole is not node.output:
            renamed[node.output] = whole
    graph = with_nodes(graph, nodes, renamed)
    return replace(graph, nodes=reaching(graph.nodes, graph.outputs))


def _whole(node: Node, producers: Mapping[Value, Node]) -> tuple[list[Node], Value] | None:
    """What a concatenation puts together again, with the nodes that bring it into its form."""
    if not isinstance(node.op, ops.Concat):
        return None
    operands, axis = node.op.operands, node.op.axis
    parts = [element(node.inputs[each.index], producers) for each in operands if isinstance(each, Input)]
    first = parts[0] if parts else None
    if first is None or not len(parts) == len(operands) == first.source.shape[first.axis]:
        return None
    if any(part != replace(first, index=index) for index, part in enumerate(parts)):
        return None
    if axis == 0:
        return with_axis_first(first.source, first.axis, node.output.shape, node)
    if node.output.shape[axis] != len(parts):
        return None
    shape = node.output.shape
    nodes, value = with_axis_first(first.source, first.axis, (len(parts), *shape[:axis], *shape[axis + 1 :]), node)
    axes = (*range(1, axis + 1), 0, *range(axis + 1, len(shape)))
    return [*nodes, replace(node, op=ops.Permute(axes), inputs=(value,))], node.output
