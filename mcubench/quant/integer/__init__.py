"""The integer graph: int8 tensors between kernels that compute exactly as TFLite Micro's do."""

from mcubench.quant.integer import kernels
from mcubench.quant.integer.building import NotInIntegersError
from mcubench.quant.integer.ir import IntegerGraph, IntegerNode, IntegerTensor
from mcubench.quant.integer.memory import plan_arena
from mcubench.quant.integer.run import predict, run
from mcubench.quant.integer.streaming import Stream, streamed

__all__ = [
    "IntegerGraph",
    "IntegerNode",
    "IntegerTensor",
    "NotInIntegersError",
    "Stream",
    "kernels",
    "plan_arena",
    "predict",
    "run",
    "streamed",
]
