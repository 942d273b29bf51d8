"""C with assembly for cores with the DSP extension: Cortex-M4, M7, and M33 where it has it."""

from mcubench.codegen.armv7em import convolution, dense, depthwise, first, pooling, recurrent, signal
from mcubench.codegen.armv7em.table import EMITTERS

__all__ = ["EMITTERS", "convolution", "dense", "depthwise", "first", "pooling", "recurrent", "signal"]
