"""Activations and arithmetic on elements."""

from __future__ import annotations

from mcubench.graph import Weight, ops
from mcubench.graph.ir import Input
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder, NotInIntegersError, build
from mcubench.quant.integer.ir import Kernel, Operand

__all__: list[str] = []

_FUNCTIONS: dict[str, type[Kernel]] = {
    "relu": kernels.Relu,
    "relu6": kernels.Relu6,
    "sigmoid": kernels.Logistic,
    "tanh": kernels.Tanh,
    "hardswish": kernels.HardSwish,
}
_ARITHMETIC: dict[str, type[kernels.Add | kernels.Subtract | kernels.Multiply]] = {
    "add": kernels.Add,
    "sub": kernels.Subtract,
    "rsub": kernels.Subtract,
    "mul": kernels.Multiply,
    "div": kernels.Multiply,
}

# How many times finer than their inputs' grids those of results may be: beyond it, TFLite Micro stops.
_HARD_SWISH_RATIO = 64
_SUM_RATIO = 2**18


@build.register
def _(op: ops.Activation, at: Builder) -> None:
    if op.kind == "leaky_relu":
        slope = op.parameters[0] if op.parameters else 0.01
        at.emit(kernels.LeakyRelu(float(slope)), [at.x])  # type: ignore[arg-type]
    elif op.kind in _FUNCTIONS:
        if op.kind == "hardswish":
            at.check_ratio(_HARD_SWISH_RATIO)
        at.emit(_FUNCTIONS[op.kind](), [at.x])
    else:
        known = ", ".join((*_FUNCTIONS, "leaky_relu"))
        raise NotInIntegersError(f"none of the int8 kernels that are used here computes it; they have {known}")


@build.register
def _(op: ops.Softmax, at: Builder) -> None:
    if op.log:
        raise NotInIntegersError("no kernel of log-softmax is used here; softmax, or none, gives the same class")
    if op.causal or op.axis != len(at.node.output.shape) - 1:
        raise NotInIntegersError("only softmax over the last axis, or over the channels, is supported")
    if (terms := at.node.output.shape[-1]) > kernels.Softmax.LARGEST:
        largest = kernels.Softmax.LARGEST
        raise NotInIntegersError(
            f"it is over {terms} values; TFLite Micro's is defined for at most {largest}, as all may be equal; "
            "without it the largest value is at the same place"
        )
    at.emit(kernels.Softmax(), [at.x])


@build.register
def _(op: ops.Elementwise, at: Builder) -> None:
    kind = op.kind.partition(".")[0]
    given = list(op.operands)
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
    at.emit(_ARITHMETIC[kind](op.activation), operands)


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
