"""The kernels: what each is, and its arithmetic, bit for bit that of TFLite Micro's reference kernels."""

from mcubench.quant.integer.kernels.elementwise import Add, Multiply, Subtract
from mcubench.quant.integer.kernels.functions import HardSwish, LeakyRelu, Logistic, Relu, Relu6, Requantize, Tanh
from mcubench.quant.integer.kernels.layers import Convolve, DepthwiseConvolve, FullyConnected, TransposeConvolve
from mcubench.quant.integer.kernels.moves import Concatenate, Pad, Reshape, StridedSlice, Transpose
from mcubench.quant.integer.kernels.pooling import AveragePool, MaxPool
from mcubench.quant.integer.kernels.softmax import Softmax

__all__ = [
    "Add",
    "AveragePool",
    "Concatenate",
    "Convolve",
    "DepthwiseConvolve",
    "FullyConnected",
    "HardSwish",
    "LeakyRelu",
    "Logistic",
    "MaxPool",
    "Multiply",
    "Pad",
    "Relu",
    "Relu6",
    "Requantize",
    "Reshape",
    "Softmax",
    "StridedSlice",
    "Subtract",
    "Tanh",
    "Transpose",
    "TransposeConvolve",
]
