"""Functions of one element, and arithmetic on elements at equal places."""

from __future__ import annotations

from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import IntegerTensor, Kernel
from mcubench.readers.tflite.integers.site import IntegerSite, rule

__all__: list[str] = []

_SUMS = {"ADD": kernels.Add, "SUB": kernels.Subtract, "MUL": kernels.Multiply}
_CHOICES = {"MAXIMUM": kernels.Maximum, "MINIMUM": kernels.Minimum}
# Those that bring what they compute to any grid.
_SINGLE: dict[str, type[Kernel]] = {
    "RELU": kernels.Relu,
    "HARD_SWISH": kernels.HardSwish,
    "ABS": kernels.Absolute,
}


@rule(*_SUMS)
def _sum(at: IntegerSite) -> None:
    at.emit(_SUMS[at.operator.name](at.activation), [at.operand(0), at.operand(1)])


@rule(*_CHOICES)
def _choice(at: IntegerSite) -> None:
    operands = [at.operand(0), at.operand(1)]
    at.same_grid(*operands)
    at.emit(_CHOICES[at.operator.name](), operands)


@rule("PRELU")
def _prelu(at: IntegerSite) -> None:
    at.emit(kernels.PRelu(), [at.x(), at.constant(at.tensor(1))])


@rule(*_SINGLE)
def _single(at: IntegerSite) -> None:
    at.emit(_SINGLE[at.operator.name](), [at.x()])


@rule("RELU6")
def _relu6(at: IntegerSite) -> None:
    at.same_grid(at.x())
    at.emit(kernels.Relu6(), [at.x()])


@rule("LEAKY_RELU")
def _leaky_relu(at: IntegerSite) -> None:
    at.emit(kernels.LeakyRelu(float(at.option("Alpha", 0.0))), [at.x()])


@rule("LOGISTIC")
def _logistic(at: IntegerSite) -> None:
    at.made_on(1 / 256, -128)
    at.emit(kernels.Logistic(), [at.x()])


@rule("TANH")
def _tanh(at: IntegerSite) -> None:
    at.made_on(1 / 128, 0)
    at.emit(kernels.Tanh(), [at.x()])


@rule("QUANTIZE")
def _quantize(at: IntegerSite) -> None:
    x, made = at.x(), at.made()
    if made.width == 1:
        at.emit(kernels.Requantize(), [x])
        return
    places = IntegerTensor(made.name, made.shape, made.grid, made.width)
    if made.grid.scale != x.grid.scale or made.grid.zero_point - x.grid.zero_point != 128:
        raise at.operator.refuse("it makes int32 that are not places in a table of 256")
    at.emit(kernels.Places(), [x], places)
    at.give(places)
