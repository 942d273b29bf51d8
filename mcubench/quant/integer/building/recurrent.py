"""Recurrent layers: one kernel a direction."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mcubench.graph import Node, Weight, ops
from mcubench.quant.grid import Grid
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder
from mcubench.quant.integer.building.table import NotInIntegersError, builds
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["directions"]

_NEW = 2  # the GRU's gate whose recurrent product is reset, with its bias

_LIMITS = "an initial state of 0; one direction or both"


@builds(
    ops.LSTM,
    kernels.Lstm,
    kernels.Gather,
    kernels.Concatenate,
    kernels.StridedSlice,
    limits=f"{_LIMITS}; its last cell state can't be read",
)
def _(op: ops.LSTM, at: Builder) -> None:
    cell = at.node.outputs[2]
    if at.is_read(cell):
        raise NotInIntegersError("the cell's last state is read, which it keeps in 16 bits")
    scale = at.grid(cell).scale
    _directions(op, at, lambda gates, state: kernels.Lstm(gates, state, scale, 0.0))


@builds(ops.GRU, kernels.Gru, kernels.Gather, kernels.Concatenate, kernels.StridedSlice, limits=_LIMITS)
def _(op: ops.GRU, at: Builder) -> None:
    _directions(op, at, kernels.Gru)


def directions(node: Node) -> tuple[str, ...]:
    """Names of what the kernels of a recurrent layer write: one, or one a direction."""
    assert isinstance(node.op, ops.Recurrent)
    name = node.output.name
    return (f"{name}.steps",) if len(node.op.cells) == 1 else (f"{name}.forward", f"{name}.backward")


def _directions(
    op: ops.Recurrent, at: Builder, kernel: Callable[[tuple[kernels.Gate, ...], Grid], kernels.RecurrentKernel]
) -> None:
    """A kernel for each direction, on the sequence or on the sequence backward, and the states behind the last step."""
    if any(each is not None for each in op.state):
        raise NotInIntegersError("its initial state is not 0")
    sequence, last = at.node.outputs[:2]
    steps, inputs = at.node.inputs[0].shape
    grid, units = at.grid(sequence), op.hidden
    x = at.reshaped(at.x, (1, steps, inputs))
    single = len(op.cells) == 1
    runs = []
    for index, (cell, name) in enumerate(zip(op.cells, directions(at.node), strict=True)):
        source = _flipped(x, at) if index else x
        run = IntegerTensor(name, (1, steps, units), grid)
        at.emit(kernel(_gates(cell, units, at, grid), grid), [source], run)
        runs.append(run)
    if at.is_read(sequence):
        made = [_flipped(run, at) if index else run for index, run in enumerate(runs)]
        at.give(made[0] if single else at.joined(made, 2, f"{sequence.name}.both"))
    if at.is_read(last):
        ends = [
            at.between(kernels.StridedSlice(1, steps - 1, steps), run, (1, 1, units), f"last_{index}")
            for index, run in enumerate(runs)
        ]
        joined = ends[0] if single else at.joined(ends, 1, f"{last.name}.both")
        at.hold(last, kernels.Reshape(), joined)


def _flipped(tensor: IntegerTensor, at: Builder) -> IntegerTensor:
    """A sequence, the last step first."""
    places = tuple(range(tensor.shape[1] - 1, -1, -1))
    made = IntegerTensor(f"{tensor.name}.flipped.{at.node.name}", tensor.shape, tensor.grid)
    return at.emit(kernels.Gather(1, places), [tensor], made)


def _gates(cell: ops.Cell, units: int, at: Builder, state: Grid) -> tuple[kernels.Gate, ...]:
    """The gates of a cell; two biases are one, but for the GRU's that stands within what is reset."""
    gru = isinstance(at.node.op, ops.GRU)
    found = []
    for index in range(len(cell.weight_hh.tensor) // units):
        rows = slice(index * units, (index + 1) * units)
        given, recalled = (_part(each, index, each.tensor[rows]) for each in (cell.weight_ih, cell.weight_hh))
        bias, again = cell.bias_ih, None
        if cell.bias_ih is not None and cell.bias_hh is not None:
            first, second = cell.bias_ih.tensor[rows], cell.bias_hh.tensor[rows]
            apart = gru and index == _NEW
            bias = _part(cell.bias_ih, index, first if apart else first + second)
            again = _part(cell.bias_hh, index, second) if apart else None
        source = at.x.grid
        filter_ = at.matrix(given, given.tensor, source, bias)
        recurrent = at.matrix(recalled, recalled.tensor, state, again)
        found.append(kernels.Gate(filter_, recurrent, at.bias(bias, filter_, source), at.bias(again, recurrent, state)))
    return tuple(found)


def _part(weight: Weight, gate: int, tensor: Tensor) -> Weight:
    """The rows of a gate."""
    return Weight(f"{weight.name}.{gate}", tensor, weight.sources, weight.stored)
