"""Operations that move elements."""

from __future__ import annotations

from mcubench.graph import Weight, ops
from mcubench.graph.ir import Input
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder, NotInIntegersError, build
from mcubench.quant.integer.ir import IntegerTensor, Operand

__all__: list[str] = []


@build.register
def _(_op: ops.Reshape, at: Builder) -> None:
    at.give(at.x)


@build.register
def _(op: ops.Permute, at: Builder) -> None:
    value = at.node.inputs[0]
    lead = tuple(range(at.axis(value, 0)))
    at.emit(kernels.Transpose((*lead, *(at.axis(value, axis) for axis in op.axes))), [_shaped(at)])


@build.register
def _(op: ops.Concat, at: Builder) -> None:
    grid = at.grid(at.node.output)
    parts: list[Operand] = []
    for each in op.operands:
        if isinstance(each, Weight):
            parts.append(at.constant(each, len(at.shape(at.node.output)), grid))
            continue
        assert isinstance(each, Input)
        part = at.read(at.node.inputs[each.index])
        if part.grid != grid:
            part = at.emit(kernels.Requantize(), [part], IntegerTensor(f"{part.name}.{at.node.name}", part.shape, grid))
        parts.append(part)
    at.emit(kernels.Concatenate(at.axis(at.node.output, op.axis)), parts)


@build.register
def _(op: ops.Slice, at: Builder) -> None:
    axis = at.axis(at.node.inputs[0], op.axis)
    at.emit(kernels.StridedSlice(axis, op.start, min(op.stop, at.x.shape[axis]), op.step), [_shaped(at)])


@build.register
def _(op: ops.Select, at: Builder) -> None:
    x = _shaped(at)
    axis = at.axis(at.node.inputs[0], op.axis)
    index = op.index % x.shape[axis]
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    at.emit_as(kernels.StridedSlice(axis, index, index + 1), x, shape, "selected")


@build.register
def _(op: ops.Pad, at: Builder) -> None:
    if op.mode != "constant" or op.value != 0 or min(map(min, op.padding)) < 0:
        raise NotInIntegersError("only padding with zeros is supported")
    x = _shaped(at)
    lead = ((0, 0),) * (len(x.shape) - len(op.padding))
    at.emit(kernels.Pad((*lead, *op.padding)), [x])


def _shaped(at: Builder) -> IntegerTensor:
    """The first input, in the shape that its axes are counted in."""
    assert at.x.shape == at.shape(at.node.inputs[0])
    return at.x
