"""Brings reductions that are written in steps, or behind a flattening, to one over all their axes."""

from __future__ import annotations

import math
from dataclasses import replace

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node
from mcubench.graph.passes.rewrite import joined, only_reader, with_nodes

__all__ = ["join_reductions"]

_IN_STEPS = ("mean", "sum", "amax", "amin")  # of parts, all of one size, they are that of the whole


def join_reductions(graph: Graph) -> Graph:
    """Joins a mean, sum, maximum or minimum with one before it, and with a reshape that flattens what it is over."""
    while (found := _next(graph)) is not None:
        graph = found
    return graph


def _next(graph: Graph) -> Graph | None:
    readers = only_reader(graph)
    for node in graph.nodes:
        following = readers.get(node)
        if following is None or not isinstance(following.op, ops.Reduce) or following.op.kind not in _IN_STEPS:
            continue
        op = _of_both(node, following.op) if isinstance(node.op, ops.Reduce) else _unflattened(node, following)
        if op is not None:
            one = replace(joined(node, following, op), name=following.name, path=following.path)
            nodes = [one if each is following else each for each in graph.nodes if each is not node]
            return with_nodes(graph, nodes)
    return None


def _of_both(first: Node, second: ops.Reduce) -> ops.Reduce | None:
    op = first.op
    assert isinstance(op, ops.Reduce)
    if op.kind != second.kind or op.keepdim != second.keepdim:
        return None
    left = [axis for axis in range(len(first.inputs[0].shape)) if op.keepdim or axis not in op.axes]
    axes = tuple(sorted({*op.axes, *(left[axis] for axis in second.axes)}))
    return replace(second, axes=axes)


def _unflattened(node: Node, reduction: Node) -> ops.Reduce | None:
    """The reduction over the axes that a reshape has merged, if it merges no others."""
    op = reduction.op
    assert isinstance(op, ops.Reduce)
    if not isinstance(node.op, ops.Reshape) or op.keepdim:
        return None
    shape, at = node.inputs[0].shape, 0
    axes: list[int] = []
    for axis, size in enumerate(node.output.shape):
        start = at
        while at < len(shape) and math.prod(shape[start:at]) < size:
            at += 1
        at += at == start and size == 1 and at < len(shape) and shape[at] == 1
        if math.prod(shape[start:at]) != size or (axis not in op.axes and at - start != 1):
            return None
        axes += range(start, at) if axis in op.axes else []
    return replace(op, axes=tuple(axes)) if at == len(shape) and axes else None
