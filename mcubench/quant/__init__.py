"""Quantised arithmetic: fake quantisation for training, and the integer graph as TFLite Micro computes it."""

from mcubench.quant.calibration import Range, calibrate
from mcubench.quant.fake import interpret_fake
from mcubench.quant.grid import Grid
from mcubench.quant.integer import IntegerGraph, NotInIntegersError
from mcubench.quant.noise import LayerNoise, layer_noise
from mcubench.quant.quantize import quantize

__all__ = [
    "Grid",
    "IntegerGraph",
    "LayerNoise",
    "NotInIntegersError",
    "Range",
    "calibrate",
    "interpret_fake",
    "layer_noise",
    "quantize",
]
