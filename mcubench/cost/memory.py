"""RAM: the arena of activations, planned over the schedule of a deployed graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mcubench.cost.macs import Unsupported
from mcubench.cost.size import BitWidths, unknown_ops
from mcubench.graph import Graph, Node, Value, ops

__all__ = ["ALIGNMENT", "Buffer", "MemoryPlan", "Placement", "place", "plan_buffers", "plan_memory", "planned"]

ALIGNMENT = 16  # bytes, of every buffer's start: MicroArenaBufferAlignment() of TFLite Micro

_STATE_BITS = 16  # of the cells of TFLite's integer LSTM, and of the states of `kernels.Gru`

# Nodes that can write over their input: each output element is computed from the input element at its place.
_IN_PLACE = (ops.Activation, ops.Function, ops.Elementwise, ops.BatchNorm)


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed over a part of the schedule.

    Attributes:
        name: The value that it holds first.
        size: Bytes.
        first: The step that writes it; step 0 is the application supplying the input.
        last: The last step that reads it; an output is read after the last node.
    """

    name: str
    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed in some step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Placement:
    """A buffer and where it starts in the arena, in bytes."""

    buffer: Buffer
    offset: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.buffer.size


@dataclass(frozen=True)
class MemoryPlan:
    """Where every activation lies, and how large the arena must be.

    Attributes:
        placements: All buffers, inputs and outputs included.
        steps: Names of the steps; the first is ``input``, then one a node.
        live: For each step the bytes of all buffers that are needed in it.
        peak: Bytes of the arena.
        unsupported: Nodes that were not understood: their own working memory is not in the plan.
    """

    placements: tuple[Placement, ...]
    steps: tuple[str, ...]
    live: tuple[int, ...]
    peak: int
    unsupported: tuple[Unsupported, ...]

    @property
    def lower_bound(self) -> int:
        """Bytes that no plan for this schedule can do without: those of the step that needs the most."""
        return max(self.live)

    @property
    def peak_step(self) -> int:
        """The step that needs the most."""
        return self.live.index(self.lower_bound)


def plan_memory(graph: Graph, widths: BitWidths | None = None) -> MemoryPlan:
    """Plans the arena for the nodes in their order.

    Inputs and outputs lie in the arena. A reshape is free, and activations and arithmetic on elements write over an
    input of the same size that nobody reads any more. A recurrent layer has its hidden state beside it while it runs,
    and what it keeps in 16 bits: an LSTM its cell, a GRU the hidden state that it goes on from. Other working memory of
    kernels is not counted.

    Args:
        graph: A deployed graph.
        widths: Activations are priced at ``widths.activation`` bits; integers and booleans at their own.
    """
    bits = (widths or BitWidths()).activation
    return plan_buffers(*_buffers(graph, bits), unknown_ops(graph))


def plan_buffers(buffers: Sequence[Buffer], steps: tuple[str, ...], unsupported: tuple[Unsupported, ...]) -> MemoryPlan:
    """Plans the arena for buffers whose lives are known; `steps` and `unsupported` are those of `MemoryPlan`."""
    return planned(place(buffers), steps, unsupported)


def planned(
    placements: Sequence[Placement], steps: tuple[str, ...], unsupported: tuple[Unsupported, ...]
) -> MemoryPlan:
    """The plan of buffers that have their places."""
    buffers = [each.buffer for each in placements]
    live = tuple(sum(each.size for each in buffers if each.first <= step <= each.last) for step in range(len(steps)))
    peak = max((each.end for each in placements), default=0)
    return MemoryPlan(tuple(placements), steps, live, peak, unsupported)


def place(buffers: Sequence[Buffer], alignment: int = ALIGNMENT, around: Sequence[Placement] = ()) -> list[Placement]:
    """Gives every buffer an offset: the largest first, each in the lowest gap that is free while it lives.

    This is the order of TFLite Micro's GreedyMemoryPlanner, in which of equal ones the last that is listed comes first.
    What has its place already (`around`) keeps it, and comes first in the result.
    """
    order = sorted(range(len(buffers)), key=lambda index: (-buffers[index].size, -index))
    placed = list(around)
    for buffer in (buffers[index] for index in order):
        offset = 0
        for other in sorted((each for each in placed if each.buffer.overlaps(buffer)), key=lambda each: each.offset):
            if other.offset >= offset + buffer.size:
                break
            offset = max(offset, math.ceil(other.end / alignment) * alignment)
        placed.append(Placement(buffer, offset))
    return placed


def value_bytes(value: Value, bits: int) -> int:
    """Bytes of a value: floats at the activation width, integers and booleans at their own."""
    width = bits if value.dtype.is_floating_point else 8 * value.dtype.itemsize
    return math.ceil(value.size * width / 8)


def _buffers(graph: Graph, bits: int) -> tuple[list[Buffer], tuple[str, ...]]:
    """The buffers of a schedule, and its steps; a reshape is no step."""
    base: dict[Value, Value] = {}  # what a reshaped value was before
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, ops.Reshape):
            base[node.output] = base.get(node.inputs[0], node.inputs[0])
        else:
            nodes.append(node)
    reads = [tuple(base.get(value, value) for value in node.inputs) for node in nodes]
    returned = {base.get(value, value) for value in graph.outputs}
    last = {value: step for step, values in enumerate(reads, 1) for value in values} | dict.fromkeys(
        returned, len(nodes)
    )
    lives = {value: [0, last.get(value, 0)] for value in graph.inputs}  # by the value that first lies in a buffer
    owner = {value: value for value in graph.inputs}
    buffers = []
    for step, (node, values) in enumerate(zip(nodes, reads, strict=True), 1):
        made = [value for value in node.outputs if value in last]  # nobody reads the rest, so it need not be stored
        for value in made:
            reused = _overwritten(node, step, values, last, returned, bits) if value is node.output else None
            owner[value] = value if reused is None else owner[reused]
            lives.setdefault(owner[value], [step, step])[1] = last[value]
        if state := _state_bytes(node, bits):
            buffers.append(Buffer(f"{node.name} state", state, step, step))
    stored = [Buffer(value.name, value_bytes(value, bits), *life) for value, life in lives.items()]
    return [each for each in stored + buffers if each.size], ("input", *(node.name for node in nodes))


def _overwritten(
    node: Node, step: int, inputs: Sequence[Value], last: dict[Value, int], returned: set[Value], bits: int
) -> Value | None:
    """The input that a node can write its output over."""
    if not isinstance(node.op, _IN_PLACE):
        return None
    for value in inputs:
        dead = last[value] == step and value not in returned
        # Of the output's size it is not broadcast: each element is read where it is written, even if it is read twice.
        same = value.size == node.output.size and value_bytes(value, bits) == value_bytes(node.output, bits)
        if dead and same:
            return value
    return None


def _state_bytes(node: Node, bits: int) -> int:
    """Hidden and cell state of a recurrent layer; directions run one after the other, and each keeps its own."""
    op = node.op
    if not isinstance(op, ops.Recurrent):
        return 0
    kept = 0  # beside the hidden state
    if isinstance(op, ops.LSTM):
        kept = max(_STATE_BITS, bits)
    elif isinstance(op, ops.GRU) and bits < _STATE_BITS:
        kept = _STATE_BITS
    return math.ceil(op.hidden * (bits + kept) / 8) * len(op.cells)
