"""Functions of elements, and arithmetic on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mcubench.graph import Graph, Weight, interpret, ops
from mcubench.graph.ir import Input, Op
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN, Grid
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder
from mcubench.quant.integer.building.table import NotInIntegersError, builds
from mcubench.quant.integer.ir import IntegerTensor, Kernel, Operand

__all__: list[str] = []

_FUNCTIONS: dict[str, type[Kernel]] = {
    "relu": kernels.Relu,
    "relu6": kernels.Relu6,
    "sigmoid": kernels.Logistic,
    "tanh": kernels.Tanh,
    "hardswish": kernels.HardSwish,
    "abs": kernels.Absolute,
}
_ARITHMETIC: dict[str, type[kernels.Add | kernels.Subtract | kernels.Multiply]] = {
    "add": kernels.Add,
    "sub": kernels.Subtract,
    "rsub": kernels.Subtract,
    "mul": kernels.Multiply,
    "div": kernels.Multiply,
}
_CHOICES: dict[str, type[Kernel]] = {"maximum": kernels.Maximum, "minimum": kernels.Minimum}

# How many times finer than their inputs' grids those of results may be: beyond it, TFLite Micro stops.
_HARD_SWISH_RATIO = 64
_SUM_RATIO = 2**18

_NEARLY_HALF = 0.501  # of a code: a bound so near to the grid's end is held by saturation


@builds(
    ops.Activation,
    *(*_FUNCTIONS.values(), kernels.LeakyRelu, kernels.Maximum, kernels.Minimum, kernels.Places, kernels.Lookup),
    limits="a function of one value; where no kernel is named it is looked up; clamps to any bounds",
)
def _(op: ops.Activation, at: Builder) -> None:
    if op.kind == "leaky_relu":
        slope = op.parameters[0] if op.parameters else 0.01
        at.emit(kernels.LeakyRelu(float(slope)), [at.x])  # type: ignore[arg-type]
    elif op.kind in _FUNCTIONS:
        if op.kind == "hardswish":
            at.check_ratio(_HARD_SWISH_RATIO)
        at.emit(_FUNCTIONS[op.kind](), [at.x])
    elif op.kind == "clamp":
        _clamp(op, at)
    else:
        _looked_up(op, at)


@builds(
    ops.Function,
    kernels.Places,
    kernels.Lookup,
    limits="any arithmetic on one value and numbers, comparisons and casts too, that ends in floats",
)
def _(op: ops.Function, at: Builder) -> None:
    _looked_up(op, at)


def _looked_up(op: Op, at: Builder) -> None:
    """A function without a kernel of its own is looked up: of each code the nearest one of its result."""
    source, target = at.x.grid, at.grid(at.node.output)
    values = source.values(torch.arange(ACTIVATION_MIN, ACTIVATION_MAX + 1))
    results = target.codes(_defined(_results(op, at, values)))
    places = Grid(source.scale, source.zero_point - ACTIVATION_MIN)
    made = IntegerTensor(f"{at.node.output.name}.places", at.x.shape, places, width=4)
    at.emit(kernels.Lookup(results), [at.emit(kernels.Places(), [at.x], made)])


def _results(op: Op, at: Builder, values: Tensor) -> Tensor:
    value, result = at.node.inputs[0], at.node.output
    body = op.body if isinstance(op, ops.Function) else Graph((at.node,), (value,), (result,))
    found: Tensor = interpret(body, values)[0].float()
    return found


def _defined(results: Tensor) -> Tensor:
    """What is not a number, as the root of a negative one, is what stands nearest: rounding may lead there."""
    known = (~results.isnan()).nonzero()[:, 0]
    if not len(known):
        raise NotInIntegersError("it is not a number for any value of its input")
    nearest = known[(torch.arange(len(results))[:, None] - known).abs().argmin(1)]
    return results[nearest]


def _clamp(op: ops.Activation, at: Builder) -> None:
    """Cuts off what the grid holds beyond the bounds; where it ends there, saturation has done so."""
    grid, rank = at.x.grid, len(at.x.shape)
    low, high = (None if each is None else float(each) for each in op.parameters)
    cuts: list[tuple[type[Kernel], float]] = []
    if low is not None and grid.zero_point + low / grid.scale > ACTIVATION_MIN + _NEARLY_HALF:
        cuts.append((kernels.Maximum, low))
    if high is not None and grid.zero_point + high / grid.scale < ACTIVATION_MAX - _NEARLY_HALF:
        cuts.append((kernels.Minimum, high))
    x = at.x
    for number, (kernel, bound) in enumerate(cuts, 1):
        last = number == len(cuts)
        output = None if last else IntegerTensor(f"{at.node.output.name}.above", x.shape, grid)
        x = at.emit(kernel(), [x, at.constant(bound, rank, grid)], output)
    if not cuts:
        at.give(x)


@builds(ops.PReLU, kernels.PRelu, limits="a slope for all or one for each channel")
def _(op: ops.PReLU, at: Builder) -> None:
    slopes = op.weight.tensor
    if op.rank == 0 and slopes.numel() > 1 and len(at.node.inputs[0].shape) > 1:
        raise NotInIntegersError(f"its slopes are for axis 0 of {at.node.inputs[0].shape}, and channels lie last")
    at.emit(kernels.PRelu(), [at.x, at.constant(op.weight, len(at.x.shape))])


@builds(
    ops.Softmax,
    kernels.Softmax,
    kernels.LogSoftmax,
    limits="over any axis; at most 511 values, of log-softmax 4,095; not causal",
)
def _(op: ops.Softmax, at: Builder) -> None:
    kernel, shape = kernels.LogSoftmax if op.log else kernels.Softmax, at.node.output.shape
    if op.causal:
        raise NotInIntegersError(
            "it is causal: what comes later has a share of 0, and a score as low as that leaves the others few levels"
        )
    if (terms := shape[op.axis]) > kernel.LARGEST:
        raise NotInIntegersError(
            f"it is over {terms} values; TFLite Micro's is defined for at most {kernel.LARGEST}, as all may be equal; "
            "without it the largest value is at the same place"
        )
    if op.axis == len(shape) - 1:
        at.emit(kernel(), [at.x])
        return
    order = [axis for axis in range(len(shape)) if axis != op.axis] + [op.axis]  # it is moved to the end, and back
    rows = (1, math.prod(shape) // terms, terms)
    x = at.reshaped(at.permuted(at.x, shape, order), rows)
    made = IntegerTensor(f"{at.node.output.name}.rows", rows, at.grid(at.node.output))
    moved = [shape[axis] for axis in order]
    at.give(at.permuted(at.emit(kernel(), [x], made), moved, [order.index(axis) for axis in range(len(shape))]))


@builds(
    ops.Elementwise,
    kernels.Add,
    kernels.Subtract,
    kernels.Multiply,
    kernels.Maximum,
    kernels.Minimum,
    kernels.Requantize,
    limits="of two values, or of one and a constant; quotients by a constant",
)
def _(op: ops.Elementwise, at: Builder) -> None:
    kind = op.kind.partition(".")[0]
    given = list(op.operands)
    if kind in _CHOICES and len(given) == 2:
        _chosen(_CHOICES[kind], given, at)
        return
    if kind == "rsub" and given[2:] == [1]:  # its alpha
        given = given[1::-1]
    if kind not in _ARITHMETIC or len(given) != 2:
        raise NotInIntegersError(f"there are sums, differences and products of two; not {op.kind}")
    if any(each != ("alpha", 1) for each in op.keywords):
        raise NotInIntegersError(f"it has {', '.join(f'{name}={value}' for name, value in op.keywords)}")
    rank = len(at.shape(at.node.output))
    if kind == "div":
        given[1] = _inverse(given[1])
    operands = [_operand(at, each, rank) for each in given]
    if _ARITHMETIC[kind] is not kernels.Multiply:
        at.check_ratio(_SUM_RATIO)
    kernel = _ARITHMETIC[kind](op.activation)
    if len(at.node.output.shape) <= 3:
        at.emit(kernel, operands)
        return
    shape, merged = _merged([at.node.output.shape, *(each.shape[1:] for each in operands)])
    pairs = zip(operands, merged, strict=True)
    tensors = [at.reshaped(each, (1, *own)) for each, own in pairs if isinstance(each, IntegerTensor)]
    if len(tensors) < len(operands):
        raise NotInIntegersError(f"it has a constant and {len(at.node.output.shape)} axes")
    made = IntegerTensor(f"{at.node.output.name}.merged", (1, *shape), at.grid(at.node.output))
    at.give(at.emit(kernel, tensors, made))


def _merged(shapes: Sequence[tuple[int, ...]]) -> tuple[list[int], list[list[int]]]:
    """Shapes with as few axes as broadcasting needs: neighbours along which the same operands are repeated are one.

    Returns:
        The first shape, and those of the others.
    """
    rank = len(shapes[0])
    aligned = [(1,) * (rank - len(each)) + tuple(each) for each in shapes]
    found: list[list[int]] = [[] for _ in shapes]
    before: tuple[bool, ...] | None = None
    for sizes in zip(*aligned, strict=True):
        repeated = tuple(size == 1 for size in sizes[1:])
        if sizes[0] == 1:
            continue
        for each, size in zip(found, sizes, strict=True):
            if repeated == before:
                each[-1] *= size
            else:
                each.append(size)
        before = repeated
    return found[0], found[1:]


def _chosen(kernel: type[Kernel], given: Sequence[object], at: Builder) -> None:
    """The larger or the smaller of two, once they are on one grid."""
    grid, rank = at.grid(at.node.output), len(at.shape(at.node.output))
    operands: list[Operand] = []
    for each in given:
        if isinstance(each, Input):
            operands.append(at.regridded(at.read(at.node.inputs[each.index]), grid))
        elif isinstance(each, (Weight, float, int)):
            operands.append(at.constant(each, rank, grid))
    at.emit(kernel(), operands)


def _operand(at: Builder, given: object, rank: int) -> Operand:
    if isinstance(given, Input):
        return at.read(at.node.inputs[given.index])
    if isinstance(given, (Weight, float, int)) and not isinstance(given, bool):
        return at.constant(given, rank)
    raise NotInIntegersError(f"its operand {given!r} is no number")


def _inverse(divisor: object) -> Weight | float:
    if isinstance(divisor, Weight):
        return divisor.derive(1 / divisor.tensor)
    if isinstance(divisor, (float, int)) and divisor:
        return 1 / divisor
    raise NotInIntegersError("it divides by what is computed")
