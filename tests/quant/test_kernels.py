"""Kernels one by one against TFLite Micro: 0 mismatching bytes; functions for every code of an input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.export.interpreters import run_litert, run_tflm
from mcubench.export.tflite import operators_of, to_tflite
from mcubench.quant import Grid, IntegerGraph, NotInIntegersError
from mcubench.quant.integer import kernels, predict
from mcubench.quant.integer.ir import Kernel
from tests.graph.compare import randomised
from tests.quant.nets import BEHIND, NETS
from tests.quant.witness import both_of_codes, check, differing, one_kernel, quantized, seeded


@pytest.mark.parametrize(
    ("name", "bits"), [*((name, bits) for name in NETS for bits in (8, 4, 2)), *((name, 8) for name in BEHIND)]
)
def test_each_kernel_computes_tflite_micros_bytes(name: str, bits: int) -> None:
    make, shape, operators = (NETS | BEHIND)[name]
    torch.manual_seed(0)
    module, x = randomised(make()), 2 * seeded(32, *shape)
    check(module, x, bits)
    if bits == 8:
        assert operators_of(quantized(module, x)) == list(dict.fromkeys(operators.split()))


FUNCTIONS: dict[str, tuple[Callable[[], Kernel], Grid | None]] = {
    "RELU": (kernels.Relu, None),
    "LEAKY_RELU": (lambda: kernels.LeakyRelu(0.1), None),
    "HARD_SWISH": (kernels.HardSwish, None),
    "QUANTIZE": (kernels.Requantize, None),
    "LOGISTIC": (kernels.Logistic, Grid(1 / 256, -128)),
    "TANH": (kernels.Tanh, Grid(1 / 128, 0)),
    "SOFTMAX": (kernels.Softmax, Grid(1 / 256, -128)),
    "LOG_SOFTMAX": (kernels.LogSoftmax, Grid(16 / 256, 127)),
    "ABS": (kernels.Absolute, None),
}


def function(make: Callable[[], Kernel], source: Grid, target: Grid, width: int = 256) -> IntegerGraph:
    return one_kernel(make(), [((width,), source)], ((width,), target))


GRIDS = st.tuples(st.floats(2**-9, 2**-1, width=32), st.integers(-128, 127)).map(lambda each: Grid(*each))


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=40)
@given(source=GRIDS, target=GRIDS)
def test_functions_of_every_code(name: str, source: Grid, target: Grid) -> None:
    make, fixed = FUNCTIONS[name]
    assume(name != "HARD_SWISH" or target.scale > source.scale / 64)  # TFLite Micro refuses much finer results
    graph = function(make, source, fixed or target)
    codes = torch.arange(-128, 128).to(torch.int8)[None]
    assert differing(*both_of_codes(graph, codes)) == 0


@pytest.mark.parametrize(("name", "exact"), [("LOGISTIC", torch.sigmoid), ("TANH", torch.tanh)])
def test_fixed_point_functions_are_near_the_real_ones(name: str, exact: Callable[[Tensor], Tensor]) -> None:
    make, fixed = FUNCTIONS[name]
    assert fixed is not None
    source = Grid(1 / 16, 3)
    codes = torch.arange(-128, 128).to(torch.int8)[None]
    (found,) = predict(function(make, source, fixed), codes)
    wanted = fixed.codes(exact(source.values(codes)))
    assert int((found.int() - wanted.int()).abs().max()) <= 1


def test_the_widest_softmax_of_equal_values() -> None:
    """One value more, all equal, and TFLite Micro's last shift would be by 32 bits; such are refused."""
    graph = function(kernels.Softmax, Grid(1 / 16, 3), Grid(1 / 256, -128), width=kernels.Softmax.LARGEST)
    codes = torch.zeros(1, kernels.Softmax.LARGEST, dtype=torch.int8)
    assert differing(*both_of_codes(graph, codes)) == 0
    refused = nn.Sequential(nn.Linear(12, kernels.Softmax.LARGEST + 1), nn.Softmax(1))
    with pytest.raises(NotInIntegersError, match="it is over 512 values; TFLite Micro's is defined for at most 511"):
        quantized(refused, seeded(4, 12))


def test_litert_rounds_a_dense_layer_otherwise_here_and_there() -> None:
    """Why neither of LiteRT's interpreters is the reference: a level more or less in a few of ten thousand bytes."""
    torch.manual_seed(0)
    graph = quantized(nn.Linear(200, 50), x := seeded(400, 200))
    (codes,) = graph.encode(x)
    ours = predict(graph, codes)[0].numpy().astype(int)
    model = to_tflite(graph)
    assert (ours != run_tflm(model, codes.numpy())[0]).sum() == 0
    difference = np.abs(ours - run_litert(model, codes.numpy())[0])
    assert difference.max() == 1
    assert 0 < (difference > 0).mean() < 0.01


def test_sums_of_wide_strides() -> None:
    """Eight samples of 3 x 5, three taps across with a stride of three: oneDNN's sums of the lower rows are wrong."""
    torch.manual_seed(0)
    check(nn.Conv2d(1, 1, (1, 3), stride=(1, 3), bias=False), torch.randn(8, 1, 3, 5))
