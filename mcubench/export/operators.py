"""What TFLite calls each kernel: operator, options and operands in its order."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch

from mcubench.quant.grid import Grid
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import Bias, Constant, Filter, IntegerNode, IntegerTensor, Kernel
from mcubench.quant.integer.kernels.common import Pairs

__all__ = ["Absent", "Operator", "Variable", "describe", "zero_bias"]

_ACTIVATIONS = {None: "NONE", "relu": "RELU", "relu6": "RELU6", "relu_n1_to_1": "RELU_N1_TO_1", "tanh": "TANH"}

# The first versions of the operators that have int8 (and of layers, int4), from op_version.cc.
_VERSIONS = {
    "FULLY_CONNECTED": 4,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "TRANSPOSE_CONV": 3,
    "HARD_SWISH": 1,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 1,
    "RESHAPE": 1,
}
_INT8_VERSION = 2

# Kernels that are their operator's name alone, with the table of options that it has, if it has one.
_WITHOUT_FIELDS: dict[type[Kernel], tuple[str, str]] = {
    kernels.Requantize: ("QUANTIZE", "QuantizeOptions"),
    kernels.Places: ("QUANTIZE", "QuantizeOptions"),
    kernels.Absolute: ("ABS", "AbsOptions"),
    kernels.Maximum: ("MAXIMUM", "MaximumMinimumOptions"),
    kernels.Minimum: ("MINIMUM", "MaximumMinimumOptions"),
    kernels.PRelu: ("PRELU", ""),
    kernels.LogSoftmax: ("LOG_SOFTMAX", "LogSoftmaxOptions"),
    kernels.Relu: ("RELU", ""),
    kernels.Relu6: ("RELU6", ""),
    kernels.Logistic: ("LOGISTIC", ""),
    kernels.Tanh: ("TANH", ""),
    kernels.HardSwish: ("HARD_SWISH", "HardSwishOptions"),
}
_ARITHMETIC = {
    kernels.Add: ("ADD", "AddOptions"),
    kernels.Subtract: ("SUB", "SubOptions"),
    kernels.Multiply: ("MUL", "MulOptions"),
}


@dataclass(frozen=True, eq=False)
class Variable:
    """A tensor that keeps what an operator left in it until the interpreter is reset, where it stands for 0."""

    tensor: IntegerTensor


class Absent:
    """An optional tensor that is not there, among others that are."""


@dataclass(frozen=True)
class Operator:
    """An operator of TFLite.

    Attributes:
        code: Of ``BuiltinOperator``.
        version: The first that has int8.
        options_type: Of ``BuiltinOptions``.
        options: The table of that type.
        inputs: Tensors, weights, biases and constants; tuples of int32; `Variable` and `Absent`.
        intermediates: Tensors that only say what grid something inside has; ``None`` for no grid.
    """

    code: int
    version: int
    options_type: int
    options: Any
    inputs: tuple[object, ...]
    intermediates: tuple[IntegerTensor | None, ...] = ()


def zero_bias(filter_: Filter, source: Grid) -> Bias:
    """Biases of 0 for a layer without, where TFLite Micro wants some."""
    scales = filter_.scales * torch.tensor(source.scale, dtype=torch.float32)
    return Bias(f"{filter_.name}.no_bias", torch.zeros(len(filter_.codes), dtype=torch.int32), scales)


def describe(node: IntegerNode, schema: Any) -> Operator:
    """The operator that a node is in TFLite.

    Args:
        node: The node.
        schema: The generated module of TFLite's schema.
    """
    name, options_name, fields, inputs = _describe(node.kernel, node)
    options = None
    if options_name:
        options = getattr(schema, f"{options_name}T")()
        for key, value in fields.items():
            if not hasattr(options, key):
                raise AttributeError(f"{options_name} has no field {key}")
            if key == "fusedActivationFunction":
                value = getattr(schema.ActivationFunctionType, _ACTIVATIONS[value])  # noqa: PLW2901
            elif key == "padding":
                value = getattr(schema.Padding, value)  # noqa: PLW2901
            setattr(options, key, value)
    return Operator(
        code=getattr(schema.BuiltinOperator, name),
        version=_VERSIONS.get(name, _INT8_VERSION),
        options_type=getattr(schema.BuiltinOptions, options_name or "NONE"),
        options=options,
        inputs=tuple(each for each in inputs if each is not None),  # a bias that there is not comes last
        intermediates=_intermediates(node),
    )


def _intermediates(node: IntegerNode) -> tuple[IntegerTensor | None, ...]:
    """Of an LSTM the hidden state before its projection, last of five; TFLite Micro does not read it, LiteRT does.

    With another grid than the output's the two would not compute alike.
    """
    if not isinstance(node.kernel, kernels.Lstm):
        return ()
    return (*(None,) * 4, IntegerTensor(f"{node.output.name}.effective_hidden", (0,), node.kernel.state))


_Described = tuple[str, str, dict[str, Any], tuple[object, ...]]


@functools.singledispatch
def _describe(kernel: Kernel, node: IntegerNode) -> _Described:
    if type(kernel) not in _WITHOUT_FIELDS:
        raise NotImplementedError(f"{type(kernel).__name__} has no operator")
    return *_WITHOUT_FIELDS[type(kernel)], {}, node.inputs


def _padding(padding: Pairs) -> str:
    return "SAME" if any(map(any, padding)) else "VALID"


@_describe.register
def _(kernel: kernels.FullyConnected, node: IntegerNode) -> _Described:
    fields = {"fusedActivationFunction": kernel.activation}
    return "FULLY_CONNECTED", "FullyConnectedOptions", fields, (*node.inputs, kernel.filter, kernel.bias)


@_describe.register
def _(kernel: kernels.Convolve, node: IntegerNode) -> _Described:
    fields = {
        "padding": _padding(kernel.padding),
        "strideH": kernel.stride[0],
        "strideW": kernel.stride[1],
        "dilationHFactor": kernel.dilation[0],
        "dilationWFactor": kernel.dilation[1],
        "fusedActivationFunction": kernel.activation,
    }
    return "CONV_2D", "Conv2DOptions", fields, (*node.inputs, kernel.filter, kernel.bias)


@_describe.register
def _(kernel: kernels.DepthwiseConvolve, node: IntegerNode) -> _Described:
    fields = {
        "padding": _padding(kernel.padding),
        "strideH": kernel.stride[0],
        "strideW": kernel.stride[1],
        "depthMultiplier": node.output.shape[3] // node.inputs[0].shape[3],
        "dilationHFactor": kernel.dilation[0],
        "dilationWFactor": kernel.dilation[1],
        "fusedActivationFunction": kernel.activation,
    }
    return "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", fields, (*node.inputs, kernel.filter, kernel.bias)


@_describe.register
def _(kernel: kernels.TransposeConvolve, node: IntegerNode) -> _Described:
    fields = {"padding": "VALID", "strideH": kernel.stride[0], "strideW": kernel.stride[1]}
    inputs = (node.output.shape, kernel.filter, *node.inputs, kernel.bias)
    return "TRANSPOSE_CONV", "TransposeConvOptions", fields, inputs


@_describe.register(kernels.MaxPool)
@_describe.register(kernels.AveragePool)
def _(kernel: kernels.MaxPool | kernels.AveragePool, node: IntegerNode) -> _Described:
    fields = {
        "padding": _padding(kernel.padding),
        "strideH": kernel.stride[0],
        "strideW": kernel.stride[1],
        "filterHeight": kernel.window[0],
        "filterWidth": kernel.window[1],
        "fusedActivationFunction": None,
    }
    name = "MAX_POOL_2D" if isinstance(kernel, kernels.MaxPool) else "AVERAGE_POOL_2D"
    return name, "Pool2DOptions", fields, node.inputs


@_describe.register(kernels.Add)
@_describe.register(kernels.Subtract)
@_describe.register(kernels.Multiply)
def _(kernel: kernels.Add | kernels.Subtract | kernels.Multiply, node: IntegerNode) -> _Described:
    return *_ARITHMETIC[type(kernel)], {"fusedActivationFunction": kernel.activation}, node.inputs


@_describe.register
def _(kernel: kernels.Concatenate, node: IntegerNode) -> _Described:
    fields = {"axis": kernel.axis, "fusedActivationFunction": None}
    return "CONCATENATION", "ConcatenationOptions", fields, node.inputs


@_describe.register
def _(kernel: kernels.Pad, node: IntegerNode) -> _Described:
    if kernel.code is None:
        return "PAD", "PadOptions", {}, (*node.inputs, kernel.padding)
    around = Constant(f"{node.output.name}.around", torch.tensor([kernel.code], dtype=torch.int8), node.output.grid)
    return "PADV2", "PadV2Options", {}, (*node.inputs, kernel.padding, around)


@_describe.register
def _(kernel: kernels.Gather, node: IntegerNode) -> _Described:
    return "GATHER", "GatherOptions", {"axis": kernel.axis, "batchDims": 0}, (*node.inputs, kernel.places)


@_describe.register
def _(kernel: kernels.Lookup, node: IntegerNode) -> _Described:
    results = Constant(f"{node.output.name}.results", kernel.results, node.output.grid)
    return "GATHER", "GatherOptions", {"axis": 0, "batchDims": 0}, (results, *node.inputs)


@_describe.register
def _(kernel: kernels.Embed, node: IntegerNode) -> _Described:
    vectors = Constant(f"{node.output.name}.vectors", kernel.codes, node.output.grid)
    return "GATHER", "GatherOptions", {"axis": 0, "batchDims": 0}, (vectors, *node.inputs)


@_describe.register
def _(kernel: kernels.Sum, node: IntegerNode) -> _Described:
    return "SUM", "ReducerOptions", _keeping(node), (*node.inputs, kernel.axes)


@_describe.register
def _(kernel: kernels.Mean, node: IntegerNode) -> _Described:
    return "MEAN", "ReducerOptions", _keeping(node), (*node.inputs, kernel.axes)


def _keeping(node: IntegerNode) -> dict[str, Any]:
    return {"keepDims": len(node.output.shape) == len(node.inputs[0].shape)}


@_describe.register
def _(kernel: kernels.Lstm, node: IntegerNode) -> _Described:
    fields = {"fusedActivationFunction": "tanh", "cellClip": kernel.cell_clip}
    name, shape = node.output.name, (1, kernel.units)
    hidden = IntegerTensor(f"{name}.hidden", shape, kernel.state)
    cell = IntegerTensor(f"{name}.cell", shape, Grid(kernel.cell_scale, 0, bits=16), width=2)
    absent = Absent()
    inputs = (
        *node.inputs,
        *(gate.input for gate in kernel.gates),
        *(gate.recurrent for gate in kernel.gates),
        *(absent,) * 3,  # peepholes
        *(gate.bias or zero_bias(gate.input, node.inputs[0].grid) for gate in kernel.gates),  # read without a look
        *(absent,) * 2,  # a projection
        Variable(hidden),
        Variable(cell),
        *(absent,) * 4,  # a norm of layers
    )
    return "UNIDIRECTIONAL_SEQUENCE_LSTM", "UnidirectionalSequenceLSTMOptions", fields, inputs


@_describe.register
def _(kernel: kernels.ResizeBilinear, node: IntegerNode) -> _Described:
    fields = {"alignCorners": kernel.align_corners, "halfPixelCenters": not kernel.align_corners}
    return "RESIZE_BILINEAR", "ResizeBilinearOptions", fields, (*node.inputs, node.output.shape[1:3])


@_describe.register
def _(_kernel: kernels.Reshape, node: IntegerNode) -> _Described:
    shape = node.output.shape
    return "RESHAPE", "ReshapeOptions", {"newShape": list(shape)}, (*node.inputs, shape)


@_describe.register
def _(kernel: kernels.Transpose, node: IntegerNode) -> _Described:
    return "TRANSPOSE", "TransposeOptions", {}, (*node.inputs, kernel.axes)


@_describe.register
def _(kernel: kernels.StridedSlice, node: IntegerNode) -> _Described:
    shape = node.inputs[0].shape
    begin, end, strides = [0] * len(shape), list(shape), [1] * len(shape)
    begin[kernel.axis], end[kernel.axis], strides[kernel.axis] = kernel.start, kernel.stop, kernel.step
    return "STRIDED_SLICE", "StridedSliceOptions", {}, (*node.inputs, tuple(begin), tuple(end), tuple(strides))


@_describe.register
def _(kernel: kernels.LeakyRelu, node: IntegerNode) -> _Described:
    return "LEAKY_RELU", "LeakyReluOptions", {"alpha": kernel.slope}, node.inputs


@_describe.register
def _(kernel: kernels.BatchMatmul, node: IntegerNode) -> _Described:
    return "BATCH_MATMUL", "BatchMatMulOptions", {"adjX": kernel.left_turned, "adjY": kernel.right_turned}, node.inputs


@_describe.register
def _(_kernel: kernels.L2Normalize, node: IntegerNode) -> _Described:
    return "L2_NORMALIZATION", "L2NormOptions", {"fusedActivationFunction": None}, node.inputs


@_describe.register
def _(_kernel: kernels.Softmax, node: IntegerNode) -> _Described:
    return "SOFTMAX", "SoftmaxOptions", {"beta": 1.0}, node.inputs
