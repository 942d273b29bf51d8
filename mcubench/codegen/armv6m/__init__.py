"""C for ARMv6-M, which has no long products: what is done often is Thumb assembly, everything else C99."""

from mcubench.codegen.armv6m import convolution, dense, depthwise, pooling, recurrent
from mcubench.codegen.armv6m.table import EMITTERS

__all__ = ["EMITTERS", "convolution", "dense", "depthwise", "pooling", "recurrent"]
