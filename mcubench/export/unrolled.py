"""Recurrent layers that TFLite has no operator for, step by step: each block of a step is an operator in 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from mcubench.cost.memory import MemoryPlan
from mcubench.export.operators import zero_bias
from mcubench.quant.grid import Grid
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import (
    Bias,
    Constant,
    Filter,
    IntegerGraph,
    IntegerNode,
    IntegerTensor,
    Kernel,
    Operand,
)
from mcubench.quant.integer.kernels.recurrent import GATE, SHARE
from mcubench.quant.integer.memory import plan_arena

__all__ = ["planned_arena", "unrolled"]


def unrolled(graph: IntegerGraph) -> IntegerGraph:
    """The same graph, every GRU replaced by the operators of its steps.

    Weights are shared by all steps, of which each has at most 20 operators. Together they compute what `kernels.Gru`
    does, bit for bit; the state begins at 0 with every call.
    """
    nodes: list[IntegerNode] = []
    done: set[IntegerNode] = set()
    for node in graph.nodes:
        if isinstance(node.kernel, kernels.Gru):
            last = _last_alone(node, graph)
            nodes += _Unroller(node, node.kernel).run(last)
            done.update([] if last is None else [last])
        elif node not in done:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _last_alone(node: IntegerNode, graph: IntegerGraph) -> IntegerNode | None:
    """What reads the last state, if nobody reads another: then they need not be joined."""
    readers = [each for each in graph.nodes if node.output in each.inputs]
    if len(readers) != 1 or node.output in graph.outputs:
        return None
    kernel = readers[0].kernel
    is_last = isinstance(kernel, kernels.StridedSlice) and kernel.is_last_of(1, node.output.shape[1])
    return readers[0] if is_last else None


def planned_arena(graph: IntegerGraph) -> MemoryPlan:
    """The arena of what stands in the file: where a GRU is its steps, it is larger than the layer itself needs."""
    return plan_arena(unrolled(graph))


class _Unroller:
    def __init__(self, node: IntegerNode, kernel: kernels.Gru) -> None:
        self.node, self.kernel = node, kernel
        self.nodes: list[IntegerNode] = []
        self.step = 0
        source = node.inputs[0].grid
        self.given = [_dense(gate.input, gate.bias, source) for gate in kernel.gates]
        self.recalled = [_dense(gate.recurrent, gate.recurrent_bias, kernel.state) for gate in kernel.gates]

    def run(self, last: IntegerNode | None) -> list[IntegerNode]:
        """The operators, the last of which writes what the node writes, or what the reader of its last state does."""
        (x,), (_, steps, units) = self.node.inputs, self.node.output.shape
        wide = self._emit(kernels.Requantize(), "x", x.shape, _centred(x.grid), x)
        state: Operand = Constant(f"{self.node.name}.zeros", torch.zeros(1, 1, units, dtype=torch.int16), SHARE)
        recalled: list[Operand | None] = [self._of_zeros(gate) for gate in self.kernel.gates]
        shown: list[IntegerTensor] = []
        for self.step in range(steps):
            row = kernels.StridedSlice(1, self.step, self.step + 1)
            now = self._emit(row, "row", (1, 1, x.shape[2]), wide.grid, wide)
            given = [self._made(dense, f"given_{i}", GATE, now) for i, dense in enumerate(self.given)]
            state = self._advanced(state, given, recalled)
            shown.append(self._made(kernels.Requantize(), "shown", self.kernel.state, state))
            if self.step + 1 < steps:
                back = self._made(kernels.Requantize(), "back", _centred(self.kernel.state), shown[-1])
                recalled = [self._made(dense, f"recalled_{i}", GATE, back) for i, dense in enumerate(self.recalled)]
        if last is None:
            self._join(shown)
        else:
            self.nodes[-1] = replace(self.nodes[-1], output=last.output)
        return self.nodes

    def _advanced(self, state: Operand, given: Sequence[Operand], recalled: Sequence[Operand | None]) -> IntegerTensor:
        """The state after a step, of what its input and the state before give the gates."""
        reset, kept = (
            self._made(kernels.Logistic(), f"gate_{i}", SHARE, self._sum(i, given[i], recalled[i])) for i in (0, 1)
        )
        again = recalled[2]
        if again is not None:
            again = self._made(kernels.Multiply(), "reset", GATE, reset, again)
        new = self._made(kernels.Tanh(), "new", SHARE, self._sum(2, given[2], again))
        old = self._made(kernels.Multiply(), "old", SHARE, kept, state)
        not_new = self._made(kernels.Multiply(), "not_new", SHARE, kept, new)
        rest = self._made(kernels.Subtract(), "rest", SHARE, new, not_new)
        return self._made(kernels.Add(), "state", SHARE, old, rest)

    def _sum(self, gate: int, given: Operand, recalled: Operand | None) -> Operand:
        return given if recalled is None else self._made(kernels.Add(), f"sum_{gate}", GATE, given, recalled)

    def _of_zeros(self, gate: kernels.Gate) -> Constant | None:
        """What a gate recalls of the state in the beginning; ``None`` for nothing."""
        if gate.recurrent_bias is None:
            return None
        zeros = torch.full((1, 1, self.kernel.units), self.kernel.state.zero_point)
        codes = gate.recalled(zeros, self.kernel.state).short()
        return Constant(f"{gate.recurrent.name}.of_zeros", codes, GATE)

    def _made(self, kernel: Kernel, name: str, grid: Grid, *inputs: Operand) -> IntegerTensor:
        return self._emit(kernel, name, (1, 1, self.kernel.units), grid, *inputs)

    def _emit(self, kernel: Kernel, name: str, shape: tuple[int, ...], grid: Grid, *inputs: Operand) -> IntegerTensor:
        made = IntegerTensor(f"{self.node.output.name}.{self.step}.{name}", shape, grid, width=grid.bits // 8)
        self.nodes.append(IntegerNode(self.node.name, self.node.path, kernel, inputs, made))
        return made

    def _join(self, parts: list[IntegerTensor]) -> None:
        """Puts codes one behind the other in the node's output, ten parts at a time."""
        level = 0
        most = kernels.Concatenate.MOST
        while len(parts) > most:
            level += 1
            chunks = [parts[at : at + most] for at in range(0, len(parts), most)]
            parts = []
            for self.step, chunk in enumerate(chunks):
                shape = (1, sum(each.shape[1] for each in chunk), self.kernel.units)
                parts.append(self._emit(kernels.Concatenate(1), f"joined_{level}", shape, self.kernel.state, *chunk))
        last = kernels.Concatenate(1) if len(parts) > 1 else kernels.Reshape()
        self.nodes.append(IntegerNode(self.node.name, self.node.path, last, tuple(parts), self.node.output))


def _dense(filter_: Filter, bias: Bias | None, source: Grid) -> kernels.FullyConnected:
    """With biases even if they are 0: by their type TFLite Micro knows that it is to add up in 32 bits."""
    return kernels.FullyConnected(filter_, bias or zero_bias(filter_, source))


def _centred(grid: Grid) -> Grid:
    """A grid in 16 bits whose codes are distances from the zero point."""
    return Grid(grid.scale, 0, bits=16)
