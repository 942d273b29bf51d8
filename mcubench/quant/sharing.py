"""Which values of a graph have one grid: kernels that move or choose codes do not change what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mcubench.graph import Graph, Node, Value, ops
from mcubench.quant.grid import Grid

__all__ = ["MOVES", "GridGroups", "cell_of", "group_values"]

# Kernels whose output codes are input codes.
MOVES = (
    ops.Reshape, ops.Permute, ops.Slice, ops.Select, ops.Take, ops.Pad, ops.Expand, ops.Repeat, ops.Resize
)  # fmt: skip

# Output grids that TFLite's quantisation specification fixes, by what is computed.
_FIXED = {
    "sigmoid": Grid(1 / 256, -128),
    "tanh": Grid(1 / 128, 0),
    "softmax": Grid(1 / 256, -128),
    "log_softmax": Grid(1 / 16, 127),
    "unit_row": Grid(1 / 128, 0),
}


@dataclass(frozen=True)
class GridGroups:
    """The values of a graph, those that share a grid in one group.

    Attributes:
        of: The number of each value's group.
        fixed: The grids that are not for data to choose, by group.
        clipped: Values whose range does not count, as all that is read of them is clamped: saturation does that.
        cells: Groups of the cells of LSTMs, in 16 bits, whose ranges are those of all steps.
    """

    of: dict[Value, int]
    fixed: dict[int, Grid]
    clipped: frozenset[Value]
    cells: frozenset[int] = frozenset()

    def grid(self, group: int, low: float, high: float, bits: int = 8) -> Grid:
        """The grid of a group for a range of its values; `bits` are those of what is no cell."""
        return Grid.of_cells(low, high) if group in self.cells else Grid.of_range(low, high, bits)

    @property
    def count(self) -> int:
        """How many groups there are."""
        return 1 + max(self.of.values(), default=-1)


def group_values(graph: Graph) -> GridGroups:
    """Groups the values of a deployed graph.

    Moves, pooling and means over positions keep the grid of what they read; all that is concatenated has that of the
    result, but for what a fixed grid is prescribed for, which is requantised first.
    """
    parent: dict[Value, Value] = {}

    def root(value: Value) -> Value:
        while parent.setdefault(value, value) is not value:
            value = parent[value]
        return value

    fixed = {root(node.output): grid for node in graph.nodes if (grid := _fixed(node)) is not None}
    for value in graph.inputs:
        root(value)
        if not value.dtype.is_floating_point:  # what vectors are looked up by is not rounded
            fixed[value] = Grid(1.0, 0)
    for node in graph.nodes:
        for value in node.outputs:
            root(value)
        if isinstance(node.op, ops.Recurrent):
            parent[root(node.outputs[1])] = root(node.output)  # it is the sequence's last element
        for value in _kept(node):
            ours, theirs = root(node.output), root(value)
            if isinstance(node.op, ops.Concat) and theirs in fixed:
                continue
            if ours is not theirs:
                parent[ours] = theirs
    numbers: dict[Value, int] = {}
    of = {value: numbers.setdefault(root(value), len(numbers)) for value in list(parent)}
    cells = frozenset(of[cell] for node in graph.nodes if (cell := cell_of(node)) is not None)
    return GridGroups(of, {of[value]: grid for value, grid in fixed.items()}, _clipped(graph), cells)


def cell_of(node: Node) -> Value | None:
    """What stands for the cell of an LSTM in all steps: its last state."""
    return node.outputs[2] if isinstance(node.op, ops.LSTM) else None


def _kept(node: Node) -> Iterator[Value]:
    """The inputs of a node that its output shares a grid with."""
    if isinstance(node.op, (*MOVES, ops.Pool, ops.AdaptivePool)) or _reduces(node) or _clips(node):
        yield node.inputs[0]
    elif isinstance(node.op, ops.Concat):
        yield from node.inputs


def _reduces(node: Node) -> bool:
    """Whether a node is a mean or a maximum, which are pooling."""
    return isinstance(node.op, ops.Reduce) and node.op.kind in ("mean", "amax")


def _clips(node: Node) -> bool:
    """Whether a node clips by RELU6, MAXIMUM or MINIMUM, which do not rescale."""
    return isinstance(node.op, ops.Activation) and node.op.kind in ("relu6", "clamp")


def _clipped(graph: Graph) -> frozenset[Value]:
    """Values that are read by clamps alone, also through maxima and moves."""
    consumers = graph.consumers()
    found: set[Value] = set()
    for node in reversed(graph.nodes):
        for value in node.inputs:
            if value not in graph.inputs and value not in graph.outputs and all(
                _clamps(reader) or (_keeps_order(reader) and reader.output in found) for reader in consumers[value]
            ):  # fmt: skip
                found.add(value)
    return frozenset(found)


def _clamps(node: Node) -> bool:
    return isinstance(node.op, ops.Activation) and node.op.kind == "clamp"


def _keeps_order(node: Node) -> bool:
    return isinstance(node.op, (ops.Reshape, ops.Permute)) or (isinstance(node.op, ops.Pool) and node.op.kind == "max")


def _fixed(node: Node) -> Grid | None:
    if isinstance(node.op, ops.Activation):
        return _FIXED.get(node.op.kind)
    if isinstance(node.op, ops.UnitRow):
        return _FIXED["unit_row"]
    return _FIXED["log_softmax" if node.op.log else "softmax"] if isinstance(node.op, ops.Softmax) else None
