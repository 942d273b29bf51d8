"""Layers, pooling, reductions, recurrence."""

from __future__ import annotations

from typing import Any

from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import IntegerTensor
from mcubench.quant.integer.kernels.common import Pair, Pairs, same_padding
from mcubench.readers.tflite.integers.site import IntegerSite, integer_tensor, rule
from mcubench.readers.tflite.operands import SAME

__all__: list[str] = []

_TANH = 4  # ActivationFunctionType of schema.fbs


def _padding(at: IntegerSite, x: IntegerTensor, kernel: Pair, dilation: Pair = (1, 1)) -> Pairs:
    if len(x.shape) != 4:
        raise at.operator.refuse(f"{x.name} {list(x.shape)} is no image")
    if at.option("Padding") != SAME:
        return (0, 0), (0, 0)
    return same_padding((x.shape[1], x.shape[2]), kernel, at.stride, dilation)


@rule("CONV_2D", "DEPTHWISE_CONV_2D")
def _convolution(at: IntegerSite) -> None:
    depthwise = at.operator.name == "DEPTHWISE_CONV_2D"
    x, filter_ = at.x(), at.filter(1, 3 if depthwise else 0)
    _, height, width, _ = shape = tuple(filter_.codes.shape)
    dilation = at.option("DilationHFactor"), at.option("DilationWFactor")
    padding = _padding(at, x, (height, width), dilation)
    bias = at.bias(2, shape[3] if depthwise else shape[0])
    kernel = kernels.DepthwiseConvolve if depthwise else kernels.Convolve
    at.emit(kernel(filter_, bias, at.stride, padding, dilation, at.activation), [x])


@rule("FULLY_CONNECTED")
def _dense(at: IntegerSite) -> None:
    if at.option("WeightsFormat", 0):
        raise at.operator.refuse("its weights are shuffled, as for one kind of processor")
    filter_ = at.filter(1, 0)
    at.emit(kernels.FullyConnected(filter_, at.bias(2, len(filter_.codes)), at.activation), [at.x()])


@rule("TRANSPOSE_CONV")
def _transposed(at: IntegerSite) -> None:
    x, filter_, stride = at.x(2), at.filter(1, 0), at.stride
    outputs, *taps, _ = filter_.codes.shape
    made = [(size - 1) * step + each for size, step, each in zip(x.shape[1:3], stride, taps, strict=True)]
    cut = [size - wanted for size, wanted in zip(made, at.made().shape[1:3], strict=True)]
    if at.activation is not None or (at.option("Padding") == SAME and max(cut) > 1):
        raise at.operator.refuse("there is no kernel for one with padding, or with a fused activation")
    at.emit(kernels.TransposeConvolve(filter_, at.bias(3, outputs), stride), [x])


@rule("MAX_POOL_2D", "AVERAGE_POOL_2D")
def _pool(at: IntegerSite) -> None:
    x, window = at.x(), at.window
    at.same_grid(x)
    kernel: Any = kernels.MaxPool if at.operator.name == "MAX_POOL_2D" else kernels.AveragePool
    pooled, target, activation = kernel(window, at.stride, _padding(at, x, window)), at.made(), at.activation
    if activation is None:
        at.emit(pooled, [x])
        return
    if activation == "relu_n1_to_1":
        raise at.operator.refuse("there is no kernel for its fused activation")
    between = at.emit(pooled, [x], at.part("pooled", target.shape, target.grid))
    at.emit(kernels.Relu() if activation == "relu" else kernels.Relu6(), [between])


@rule("MEAN", "SUM")
def _reduction(at: IntegerSite) -> None:
    x = at.x()
    axes = sorted({axis % len(x.shape) for axis in at.numbers(1)})
    if not axes or axes[0] == 0 or axes != list(range(axes[0], axes[-1] + 1)):
        raise at.operator.refuse(f"it is over axes {axes}, which are not neighbours behind the batch")
    kernel = kernels.Mean if at.operator.name == "MEAN" else kernels.Sum
    at.emit(kernel(tuple(axes)), [x])


@rule("BATCH_MATMUL")
def _product(at: IntegerSite) -> None:
    operands = [at.operand(0), at.operand(1)]
    if {len(each.shape) for each in operands} not in ({3}, {4}):
        raise at.operator.refuse("its operands are not both matrices, or both several of them")
    at.emit(kernels.BatchMatmul(bool(at.option("AdjX")), bool(at.option("AdjY"))), operands)


@rule("L2_NORMALIZATION")
def _unit_rows(at: IntegerSite) -> None:
    if at.activation is not None:
        raise at.operator.refuse("it has a fused activation")
    at.made_on(1 / 128, 0)
    at.emit(kernels.L2Normalize(), [at.x()])


@rule("SOFTMAX")
def _softmax(at: IntegerSite) -> None:
    if at.option("Beta", 1.0) != 1.0:
        raise at.operator.refuse(f"its beta is {at.option('Beta'):g}, and there is a kernel for 1")
    at.made_on(1 / 256, -128)
    at.emit(kernels.Softmax(), [at.x()])


@rule("LOG_SOFTMAX")
def _log_softmax(at: IntegerSite) -> None:
    at.made_on(16 / 256, 127)
    at.emit(kernels.LogSoftmax(), [at.x()])


@rule("UNIDIRECTIONAL_SEQUENCE_LSTM")
def _lstm(at: IntegerSite) -> None:
    at.check_plain_lstm()
    if at.option("FusedActivationFunction") != _TANH:
        raise at.operator.refuse("its activation is not tanh")
    x, hidden, cell = at.x(), at.tensor(18), at.tensor(19)
    units = hidden.shape[-1]
    if cell.kind != "INT16" or len(cell.scales) != 1 or cell.zero_points.any():
        raise at.operator.refuse(f"its cell {cell.name} is {cell.kind}, not int16 with one scale")
    state = integer_tensor(hidden)
    gates = [
        kernels.Gate(at.filter(1 + place, 0), at.filter(5 + place, 0), at.bias(12 + place, units)) for place in range(4)
    ]
    for gate in gates:
        if gate.input.codes.shape != (units, x.shape[-1]) or gate.recurrent.codes.shape != (units, units):
            raise at.operator.refuse("the shapes of its weights do not fit its input and its state")
        if len(gate.input.scales) != 1 or len(gate.recurrent.scales) != 1:
            raise at.operator.refuse("its weights have a scale for each channel")
    at.same_grid(state)
    at.emit(kernels.Lstm(tuple(gates), state.grid, float(cell.scales[0]), float(at.option("CellClip"))), [x])
