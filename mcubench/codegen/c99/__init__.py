"""C for any core: nothing but ISO C99, and what a compiler knows."""

from mcubench.codegen.c99 import (
    convolution,
    dense,
    depthwise,
    elementwise,
    moves,
    pooling,
    products,
    recurrent,
    reductions,
    resizing,
    rows,
    softmax,
    transposed,
)
from mcubench.codegen.c99.table import EMITTERS

__all__ = [
    "EMITTERS",
    "convolution",
    "dense",
    "depthwise",
    "elementwise",
    "moves",
    "pooling",
    "products",
    "recurrent",
    "reductions",
    "resizing",
    "rows",
    "softmax",
    "transposed",
]
