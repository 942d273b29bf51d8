"""Puts the channels last, as microcontroller kernels have them, moving elements only where nothing else helps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node, Op, Operand, Value, Weight

__all__ = ["channels_last"]

# A layout is the number of spatial axes that the channels were moved behind; 0 is as traced.
_AS_TRACED = 0


@dataclass(frozen=True)
class _Placed:
    value: Value
    layout: int = _AS_TRACED
    flattened: tuple[int, ...] | None = None  # shape (channels, *spatial) that was flattened with the channels last


def channels_last(graph: Graph) -> Graph:
    """The same model with channels last.

    The application supplies inputs of convolutions with channels last, and inputs that the model itself permutes so
    before anything else, as it does in front of a recurrent layer. Where a convolution's output is flattened into
    Dense layers, their weights' columns are permuted, so that the elements need not move. Before operations that look
    at axes (matrix products, recurrent layers, reshapes) elements are moved back by a `Permute`, unless the model's own
    permutation did just that.
    """
    return _Relayout(graph).run()


def spatial_rank(node: Node) -> int:
    """Number of spatial axes that a node's operation works on; 0 if it knows no channels."""
    op = node.op
    if isinstance(op, (ops.Conv, ops.TransposedConv)):
        return op.weight.tensor.ndim - 2
    if isinstance(op, ops.Pool):
        return len(op.kernel)
    if isinstance(op, (ops.AdaptivePool, ops.Resize)):
        return len(op.size)
    return op.rank if isinstance(op, (ops.BatchNorm, ops.GroupNorm, ops.PReLU)) else 0


class _Relayout:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.consumers = graph.consumers()
        self.producers = graph.producers()
        self.placed: dict[Value, _Placed] = {}
        self.moved: dict[tuple[Value, int], Value] = {}
        self.nodes: list[Node] = []
        self.permuted: dict[tuple[object, tuple[int, ...]], Weight] = {}  # a layer that is used twice is stored once

    def run(self) -> Graph:
        inputs = []
        for value in self.graph.inputs:
            layout = self._wanted(value)
            stored = replace(value, shape=tuple(value.shape[axis] for axis in _order(len(value.shape), layout)))
            self.placed[value] = _Placed(stored, layout)
            inputs.append(stored)
        for node in self.graph.nodes:
            self._place(node)
        placed = [self.placed[value] for value in self.graph.outputs]
        return replace(
            self.graph,
            nodes=tuple(self.nodes),
            inputs=tuple(inputs),
            outputs=tuple(each.value for each in placed),
            layout="channels_last",
            input_axes_moved=tuple(self.placed[value].layout for value in self.graph.inputs),
            output_axes_moved=tuple(each.layout for each in placed),
        )

    def _wanted(self, value: Value) -> int:
        """The layout that the first spatial operation behind a value wants, or the only reader gives it."""
        readers = self.consumers[value]
        if len(readers) == 1 and isinstance(readers[0].op, ops.Permute):
            # An operation behind it may want the axes back where they were: then the value has them right already.
            rank = len(value.shape)
            axes = tuple(readers[0].op.axes[axis] for axis in _order(rank, self._wanted(readers[0].output)))
            return rank - 1 if axes == (*range(1, rank), 0) else _AS_TRACED
        for node in readers:
            if rank := spatial_rank(node):
                return rank
            passes = isinstance(node.op, (ops.Activation, ops.Function, ops.Elementwise, ops.Pad, ops.FakeQuantize))
            same_rank = passes and len(node.output.shape) == len(value.shape)
            if same_rank and (rank := self._wanted(node.output)):
                return rank
        return _AS_TRACED

    def _in(self, value: Value, layout: int) -> Value:
        """The value in a layout, moved if need be."""
        placed = self.placed[value]
        if placed.layout == layout:
            return placed.value
        if (value, layout) not in self.moved:
            rank = len(value.shape)
            have, want = _order(rank, placed.layout), _order(rank, layout)
            axes = tuple(have.index(axis) for axis in want)
            shape = tuple(placed.value.shape[axis] for axis in axes)
            moved = replace(value, name=f"{value.name}.{'channels_last' if layout else 'as_traced'}", shape=shape)
            source = self.producers.get(value)
            path = source.path if source else ""
            self.nodes.append(Node(moved.name, ops.Permute(axes), (placed.value,), (moved,), path))
            self.moved[value, layout] = moved
        return self.moved[value, layout]

    def _put(self, node: Node, op: Op, inputs: Sequence[Value], layout: int = _AS_TRACED) -> None:
        """Adds the node, its first output in a layout."""
        first, *others = node.outputs
        shape = tuple(first.shape[axis] for axis in _order(len(first.shape), layout))
        stored = replace(first, shape=shape)
        self.placed[first] = _Placed(stored, layout)
        for value in others:
            self.placed[value] = _Placed(value)
        self.nodes.append(replace(node, op=op, inputs=tuple(inputs), outputs=(stored, *others)))

    def _place(self, node: Node) -> None:
        if rank := spatial_rank(node):
            self._put(node, node.op, [self._in(node.inputs[0], rank), *node.inputs[1:]], rank)
        else:
            _relayout(node.op, node, self)

    def as_traced(self, node: Node) -> None:
        """Places a node that looks at axes as they were traced."""
        self._put(node, node.op, [self._in(value, _AS_TRACED) for value in node.inputs])

    def layout_of(self, node: Node) -> int:
        """The layout that most of a node's inputs have, if it can be that of all; else as traced."""
        layouts = {self.placed[value].layout for value in node.inputs}
        ranks = {len(value.shape) for value in (*node.inputs, node.output)}
        return max(layouts) if len(ranks) == 1 else _AS_TRACED


def _order(rank: int, layout: int) -> tuple[int, ...]:
    """Traced axes in the order in which a layout stores them."""
    axes = list(range(rank))
    if layout:
        axes.append(axes.pop(rank - 1 - layout))
    return tuple(axes)


def _stored(axis: int, rank: int, layout: int) -> int:
    return _order(rank, layout).index(axis)


def _operand(operand: Operand, rank: int, layout: int) -> Operand:
    """A constant operand, moved as the values are."""
    if not isinstance(operand, Weight) or (operand.tensor.ndim <= 1 and operand.tensor.numel() == 1) or not layout:
        return operand
    tensor = operand.tensor.reshape(*(1,) * (rank - operand.tensor.ndim), *operand.tensor.shape)
    return operand.derive(tensor.permute(_order(rank, layout)))


@functools.singledispatch
def _relayout(_op: Op, node: Node, at: _Relayout) -> None:
    at.as_traced(node)


@_relayout.register(ops.Activation)
@_relayout.register(ops.Function)
def _(op: ops.Activation | ops.Function, node: Node, at: _Relayout) -> None:
    placed = at.placed[node.inputs[0]]
    at._put(node, op, [placed.value], placed.layout)
    at.placed[node.output] = replace(at.placed[node.output], flattened=placed.flattened)


@_relayout.register
def _(op: ops.FakeQuantize, node: Node, at: _Relayout) -> None:
    placed = at.placed[node.inputs[0]]
    at._put(node, op, [placed.value], placed.layout)


@_relayout.register
def _(op: ops.Elementwise, node: Node, at: _Relayout) -> None:
    layout, rank = at.layout_of(node), len(node.output.shape)
    operands = tuple(_operand(each, rank, layout) for each in op.operands)
    at._put(node, replace(op, operands=operands), [at._in(value, layout) for value in node.inputs], layout)


@_relayout.register
def _(op: ops.Concat, node: Node, at: _Relayout) -> None:
    layout, rank = at.layout_of(node), len(node.output.shape)
    operands = tuple(_operand(each, rank, layout) for each in op.operands)
    moved = ops.Concat(_stored(op.axis, rank, layout), operands)
    at._put(node, moved, [at._in(value, layout) for value in node.inputs], layout)


@_relayout.register(ops.LayerNorm)
@_relayout.register(ops.RMSNorm)
def _(op: ops.LayerNorm | ops.RMSNorm, node: Node, at: _Relayout) -> None:
    """Over the channels and all of space the order of elements is free, if the weights have the same."""
    placed = at.placed[node.inputs[0]]
    if not placed.layout or op.rank != placed.layout + 1:
        at.as_traced(node)
        return
    order = _order(op.rank, placed.layout)
    moved: dict[str, Any] = {role: each.derive(each.tensor.permute(order)) for role, each in op.weights()}
    at._put(node, replace(op, **moved), [placed.value], placed.layout)


@_relayout.register(ops.Slice)
@_relayout.register(ops.Softmax)
@_relayout.register(ops.Take)
def _(op: ops.Slice | ops.Softmax | ops.Take, node: Node, at: _Relayout) -> None:
    layout, rank = at.layout_of(node), len(node.output.shape)
    moved = replace(op, axis=_stored(op.axis, rank, layout))
    at._put(node, moved, [at._in(node.inputs[0], layout)], layout)


@_relayout.register
def _(op: ops.Repeat, node: Node, at: _Relayout) -> None:
    layout = at.layout_of(node)
    order = _order(len(node.output.shape), layout)
    moved = ops.Repeat(tuple(op.repeats[axis] for axis in order))
    at._put(node, moved, [at._in(node.inputs[0], layout)], layout)


@_relayout.register
def _(op: ops.Pad, node: Node, at: _Relayout) -> None:
    layout = at.layout_of(node)
    order = _order(len(node.output.shape), layout)
    at._put(
        node, replace(op, padding=tuple(op.padding[axis] for axis in order)), [at._in(node.inputs[0], layout)], layout
    )


@_relayout.register
def _(op: ops.Reduce, node: Node, at: _Relayout) -> None:
    if op.kind.startswith("arg") and len(op.axes) > 1:  # an index counts the elements in their order
        at.as_traced(node)
        return
    layout, rank = at.placed[node.inputs[0]].layout, len(node.inputs[0].shape)
    axes = tuple(sorted(_stored(axis, rank, layout) for axis in op.axes))
    left = _left(op.axes, rank, layout) if not op.keepdim else layout
    at._put(node, replace(op, axes=axes), [at.placed[node.inputs[0]].value], left)


@_relayout.register
def _(op: ops.Select, node: Node, at: _Relayout) -> None:
    layout, rank = at.placed[node.inputs[0]].layout, len(node.inputs[0].shape)
    moved = replace(op, axis=_stored(op.axis, rank, layout))
    at._put(node, moved, [at.placed[node.inputs[0]].value], _left((op.axis,), rank, layout))


def _left(removed: tuple[int, ...], rank: int, layout: int) -> int:
    """The layout that is left when axes (as traced) vanish."""
    channel = rank - 1 - layout
    if channel in removed:
        return _AS_TRACED
    return layout - sum(axis > channel for axis in removed)


@_relayout.register
def _(op: ops.Permute, node: Node, at: _Relayout) -> None:
    placed = at.placed[node.inputs[0]]
    order = _order(len(node.inputs[0].shape), placed.layout)
    at._put(node, ops.Permute(tuple(order.index(axis) for axis in op.axes)), [placed.value])


@_relayout.register
def _(op: ops.Reshape, node: Node, at: _Relayout) -> None:
    (value,) = node.inputs
    layout = at.placed[value].layout
    lead = len(value.shape) - 1 - layout
    flattens = layout and node.output.shape == (*value.shape[:lead], math.prod(value.shape[lead:]))
    if flattens and _only_dense(node.output, at):
        at._put(node, op, [at.placed[value].value])
        at.placed[node.output] = replace(at.placed[node.output], flattened=value.shape[lead:])
    else:
        at.as_traced(node)


def _only_dense(value: Value, at: _Relayout) -> bool:
    """Whether a value is read by Dense layers alone, perhaps through activations."""
    return value not in at.graph.outputs and all(
        isinstance(node.op, ops.Dense)
        or (isinstance(node.op, (ops.Activation, ops.Function)) and _only_dense(node.output, at))
        for node in at.consumers[value]
    )


@_relayout.register
def _(op: ops.Dense, node: Node, at: _Relayout) -> None:
    placed = at.placed[node.inputs[0]]
    if placed.flattened is None:
        at.as_traced(node)
        return
    key = (op.weight.stored, placed.flattened)
    if key not in at.permuted:
        shape = placed.flattened
        columns = torch.arange(math.prod(shape)).reshape(shape).movedim(0, -1).flatten()
        at.permuted[key] = replace(op.weight, tensor=op.weight.tensor[:, columns], stored=object())
    at._put(node, replace(op, weight=at.permuted[key]), [placed.value])
