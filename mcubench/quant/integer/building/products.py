"""Products of matrices, of which at least one is computed."""

from __future__ import annotations

import math

from mcubench.graph import Node, Value, Weight, ops
from mcubench.graph.ir import Input
from mcubench.graph.ir import Operand as Given
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder
from mcubench.quant.integer.building.table import NotInIntegersError, builds
from mcubench.quant.integer.ir import IntegerTensor, Operand

__all__ = ["is_read_turned"]

_Matrices = tuple[int, int, int]  # how many, rows, columns


@builds(ops.MatMul, kernels.BatchMatmul, kernels.Reshape, limits="of matrices and vectors, as in attention")
def _(op: ops.MatMul, at: Builder) -> None:
    """One operand is brought into three axes, as the other is; one that is transposed before is read as it was."""
    shapes = _as_matrices(*(_shape(each, at) for each in op.operands))
    pairs = (_operand(each, shape, at) for each, shape in zip(op.operands, shapes, strict=True))
    operands, turned = zip(*pairs, strict=True)
    (left, rows, _), (right, _, columns) = shapes
    kernel, shape = kernels.BatchMatmul(*turned), (1, max(left, right), rows, columns)
    if shape == at.shape(at.node.output):
        at.emit(kernel, operands)
    else:
        made = IntegerTensor(f"{at.node.output.name}.matrices", shape, at.grid(at.node.output))
        at.give(at.emit(kernel, operands, made))


def _shape(given: Given, at: Builder) -> tuple[int, ...]:
    """Of one sample."""
    if isinstance(given, Input):
        return at.node.inputs[given.index].shape
    assert isinstance(given, Weight)
    return tuple(given.tensor.shape)


def _as_matrices(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[_Matrices, _Matrices]:
    """Both as matrices: a vector is a row in front and a column behind."""
    left, right = (1, *left) if len(left) == 1 else left, (*right, 1) if len(right) == 1 else right
    counts = [math.prod(each[:-2]) for each in (left, right)]
    if min(counts) > 1 and left[:-2] != right[:-2]:
        raise NotInIntegersError(f"matrices {list(left)} and {list(right)} are repeated along some axes, not all")
    return (counts[0], left[-2], left[-1]), (counts[1], right[-2], right[-1])


def _operand(given: Given, shape: _Matrices, at: Builder) -> tuple[Operand, bool]:
    """What is read, and whether it is transposed while it is."""
    if isinstance(given, Weight):
        return at.constant(given.derive(given.tensor.reshape(shape)), 1 + len(shape)), False
    assert isinstance(given, Input)
    value = at.node.inputs[given.index]
    maker = at.makers.get(value)
    if maker is None or not _turns(maker):
        return at.reshaped(at.read(value), (1, *shape)), False
    count, rows, columns = shape
    return at.reshaped(at.read(maker.inputs[0]), (1, count, columns, rows)), True


def is_read_turned(node: Node, at: Builder) -> bool:
    """Whether nobody needs what a permutation makes: products read what it is made of."""
    value: Value = node.output
    products = all(isinstance(reader.op, ops.MatMul) for reader in at.readers[value])
    return _turns(node) and products and value not in at.graph.outputs


def _turns(node: Node) -> bool:
    if not isinstance(node.op, ops.Permute) or len(node.op.axes) < 2:
        return False
    *rest, rows, columns = range(len(node.op.axes))
    return node.op.axes == (*rest, columns, rows)
