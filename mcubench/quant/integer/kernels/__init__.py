"""The kernels: what each is, and its arithmetic, bit for bit that of TFLite Micro's reference kernels."""

from mcubench.quant.integer.kernels.elementwise import Add, Maximum, Minimum, Multiply, PRelu, Subtract
from mcubench.quant.integer.kernels.functions import (
    Absolute,
    Embed,
    HardSwish,
    LeakyRelu,
    Logistic,
    Lookup,
    Places,
    Relu,
    Relu6,
    Requantize,
    Tanh,
)
from mcubench.quant.integer.kernels.layers import Convolve, DepthwiseConvolve, FullyConnected, TransposeConvolve
from mcubench.quant.integer.kernels.moves import Concatenate, Gather, Pad, Reshape, StridedSlice, Transpose
from mcubench.quant.integer.kernels.pooling import AveragePool, MaxPool
from mcubench.quant.integer.kernels.products import BatchMatmul
from mcubench.quant.integer.kernels.recurrent import Gate, Gru, Lstm, RecurrentKernel
from mcubench.quant.integer.kernels.reductions import Mean, Sum
from mcubench.quant.integer.kernels.resizing import ResizeBilinear
from mcubench.quant.integer.kernels.rows import L2Normalize
from mcubench.quant.integer.kernels.softmax import LogSoftmax, Softmax

__all__ = [
    "Absolute",
    "Add",
    "AveragePool",
    "BatchMatmul",
    "Concatenate",
    "Convolve",
    "DepthwiseConvolve",
    "Embed",
    "FullyConnected",
    "Gate",
    "Gather",
    "Gru",
    "HardSwish",
    "L2Normalize",
    "LeakyRelu",
    "LogSoftmax",
    "Logistic",
    "Lookup",
    "Lstm",
    "MaxPool",
    "Maximum",
    "Mean",
    "Minimum",
    "Multiply",
    "PRelu",
    "Pad",
    "Places",
    "RecurrentKernel",
    "Relu",
    "Relu6",
    "Requantize",
    "Reshape",
    "ResizeBilinear",
    "Softmax",
    "StridedSlice",
    "Subtract",
    "Sum",
    "Tanh",
    "Transpose",
    "TransposeConvolve",
]
