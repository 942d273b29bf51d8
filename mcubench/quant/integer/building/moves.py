"""Operations that move elements."""

from __future__ import annotations

import math

import torch

from mcubench.graph import Weight, ops
from mcubench.graph.ir import Input
from mcubench.graph.places import padded_places
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.products import is_read_turned
from mcubench.quant.integer.building.site import Builder
from mcubench.quant.integer.building.table import NotInIntegersError, builds
from mcubench.quant.integer.ir import IntegerTensor, Operand

__all__: list[str] = []

_AXES = 4  # that STRIDED_SLICE takes, the batch counted


@builds(ops.Reshape, kernels.Reshape, limits="any number of axes")
def _(_op: ops.Reshape, at: Builder) -> None:
    at.give(at.x)


@builds(ops.Permute, kernels.Transpose, kernels.Reshape, limits="any number of axes")
def _(op: ops.Permute, at: Builder) -> None:
    if is_read_turned(at.node, at):
        return
    at.give(at.permuted(at.x, at.node.inputs[0].shape, op.axes))


@builds(ops.Concat, kernels.Concatenate, kernels.Requantize, limits="any number of parts, ten at a time")
def _(op: ops.Concat, at: Builder) -> None:
    grid = at.grid(at.node.output)
    parts: list[Operand] = []
    for each in op.operands:
        if isinstance(each, Weight):
            parts.append(at.constant(each, len(at.shape(at.node.output)), grid))
            continue
        assert isinstance(each, Input)
        parts.append(at.regridded(at.read(at.node.inputs[each.index]), grid))
    at.give(at.joined(parts, at.axis(at.node.output, op.axis), at.node.output.name))


@builds(ops.Slice, kernels.StridedSlice, kernels.Reshape, limits="any step")
def _(op: ops.Slice, at: Builder) -> None:
    _sliced(op.axis, range(op.start, min(op.stop, at.node.inputs[0].shape[op.axis]), op.step), at)


@builds(ops.Select, kernels.StridedSlice, kernels.Reshape, limits="")
def _(op: ops.Select, at: Builder) -> None:
    size = at.node.inputs[0].shape[op.axis]
    index = op.index % size
    if size == 1:  # all there is
        at.give(_shaped(at))
    else:
        _sliced(op.axis, range(index, index + 1), at)


def _sliced(axis: int, taken: range, at: Builder) -> None:
    """Has the node's output be some places along an axis; the kernel knows four axes."""
    x, place = _shaped(at), at.axis(at.node.inputs[0], axis)
    if len(x.shape) > _AXES:
        before, size, behind = math.prod(x.shape[:place]), x.shape[place], math.prod(x.shape[place + 1 :])
        x, place = at.reshaped(x, (1, before, size, behind)), 2
    shape = (*x.shape[:place], len(taken), *x.shape[place + 1 :])
    at.emit_as(kernels.StridedSlice(place, taken.start, taken.stop, taken.step), x, shape, "taken")


@builds(
    ops.Pad,
    kernels.Pad,
    kernels.Gather,
    limits="zeros, any other number, or the elements reflected, repeated or from the other end",
)
def _(op: ops.Pad, at: Builder) -> None:
    x, value = _shaped(at), at.node.inputs[0]
    if min(map(min, op.padding)) < 0:
        raise NotInIntegersError("padding that cuts off is not supported; a slice is")
    if op.mode == "constant":
        lead = ((0, 0),) * (len(x.shape) - len(op.padding))
        at.emit(kernels.Pad((*lead, *op.padding), int(x.grid.codes(torch.tensor(op.value))) if op.value else None), [x])
        return
    around = [(axis, pair) for axis, pair in enumerate(op.padding) if any(pair)]
    at.gathered(
        _shaped(at), [(at.axis(value, axis), padded_places(op.mode, value.shape[axis], *pair)) for axis, pair in around]
    )


@builds(ops.Take, kernels.Gather, limits="constant places: choices, flips, shuffles")
def _(op: ops.Take, at: Builder) -> None:
    value = at.node.inputs[0]
    places = (op.indices.tensor.flatten() % value.shape[op.axis]).tolist()
    at.gathered(_shaped(at), [(at.axis(value, op.axis), places)])


@builds(ops.Repeat, kernels.Gather, limits="")
def _(op: ops.Repeat, at: Builder) -> None:
    value = at.node.inputs[0]
    times = [(axis, count) for axis, count in enumerate(op.repeats) if count > 1]
    at.gathered(_shaped(at), [(at.axis(value, axis), list(range(value.shape[axis])) * count) for axis, count in times])


@builds(ops.Expand, kernels.Gather, limits="axes of size 1")
def _(op: ops.Expand, at: Builder) -> None:
    value = at.node.inputs[0]
    if len(value.shape) != len(op.shape):
        raise NotInIntegersError(f"it adds axes to {value.shape}")
    times = [
        (axis, count) for axis, (size, count) in enumerate(zip(value.shape, op.shape, strict=True)) if size < count
    ]
    at.gathered(_shaped(at), [(at.axis(value, axis), [0] * count) for axis, count in times])


def _shaped(at: Builder) -> IntegerTensor:
    """The first input, in the shape that its axes are counted in."""
    assert at.x.shape == at.shape(at.node.inputs[0])
    return at.x
