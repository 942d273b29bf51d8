"""Whose multiply-accumulates are whose: a module may have several layers, and kernels that are none."""

from __future__ import annotations

from mcubench.target.measure import LayerCount
from mcubench.target.report import macs_by_layer


def test_each_kernel_of_a_module_has_its_own() -> None:
    """Two layers and a norm of one module, as an attention has them; a reshape has no function in C."""
    kernels = [("Convolve", "a"), ("Reshape", "b"), ("Softmax", "c"), ("DepthwiseConvolve", "d"), ("BatchMatmul", "e")]
    kinds = ("Convolve", "Softmax", "DepthwiseConvolve", "BatchMatmul", "")
    layers = [LayerCount("attention", kind, 1, None) for kind in kinds]
    assert macs_by_layer(layers, kernels, {"a": 100, "c": 7, "e": 20}) == (100, 0, 0, 20, 0)
