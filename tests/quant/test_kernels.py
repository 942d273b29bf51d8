"""Kernels one by one against TFLite Micro: 0 mismatching bytes; functions for every code of an input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.export.interpreters import run_litert, run_tflm
from mcubench.export.tflite import operators_of, to_tflite
from mcubench.quant import Grid, IntegerGraph, NotInIntegersError
from mcubench.quant.integer import IntegerNode, IntegerTensor, kernels, predict
from mcubench.quant.integer.ir import Kernel
from tests.graph.compare import Forward, randomised
from tests.quant.witness import check, quantized, seeded

IMAGE, VECTOR, SIGNAL = (4, 7, 6), (12,), (4, 9)

# A net, the shape of a sample, and the operators that it must become.
NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "dense": (lambda: nn.Linear(12, 5), VECTOR, "FULLY_CONNECTED"),
    "dense, one output": (lambda: nn.Sequential(nn.Linear(12, 1), nn.ReLU()), VECTOR, "FULLY_CONNECTED"),
    "dense, no bias": (lambda: nn.Linear(12, 5, bias=False), VECTOR, "FULLY_CONNECTED"),
    "dense, relu6": (lambda: nn.Sequential(nn.Linear(12, 5), nn.ReLU6()), VECTOR, "FULLY_CONNECTED"),
    "dense on steps": (lambda: nn.Linear(9, 5), SIGNAL, "CONV_2D"),
    "convolution": (lambda: nn.Conv2d(4, 5, 3), IMAGE, "CONV_2D"),
    "convolution, no bias": (lambda: nn.Conv2d(4, 5, 3, bias=False), IMAGE, "CONV_2D"),
    "convolution, same": (lambda: nn.Conv2d(4, 5, 3, padding=1), IMAGE, "CONV_2D"),
    "convolution, stride": (lambda: nn.Conv2d(4, 5, 3, (2, 1)), IMAGE, "CONV_2D"),
    "convolution, stride 2 of 6 padded by 1": (lambda: nn.Conv2d(4, 5, 3, 2, 1), IMAGE, "PAD CONV_2D"),
    "convolution, dilated": (lambda: nn.Conv2d(4, 5, 2, dilation=2), IMAGE, "CONV_2D"),
    "convolution, groups": (lambda: nn.Conv2d(4, 6, 3, groups=2), IMAGE, "CONV_2D"),
    "convolution of a signal": (lambda: nn.Conv1d(4, 5, 3, padding=1), SIGNAL, "CONV_2D"),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), IMAGE, "DEPTHWISE_CONV_2D"),
    "depthwise, two each": (lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), IMAGE, "DEPTHWISE_CONV_2D"),
    "transposed": (lambda: nn.ConvTranspose2d(4, 3, 3, 2), IMAGE, "TRANSPOSE_CONV"),
    "transposed, relu": (lambda: nn.Sequential(nn.ConvTranspose1d(4, 3, 2, 2), nn.ReLU()), SIGNAL, "TRANSPOSE_CONV"),
    "transposed, hard tanh on a grid that reaches above 1": (
        lambda: Forward(
            lambda c, d, x: torch.cat([F.hardtanh(9 * c(x)), d(x)], 1), *(nn.ConvTranspose2d(4, 2, 2) for _ in "cd")
        ),
        IMAGE,
        "TRANSPOSE_CONV ADD CONCATENATION",
    ),
    "batch norm alone": (
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)), IMAGE, "DEPTHWISE_CONV_2D CONV_2D"
    ),
    "max-pool": (lambda: nn.MaxPool2d(2), IMAGE, "MAX_POOL_2D"),
    "max-pool, padded": (lambda: nn.MaxPool2d(3, 2, 1), IMAGE, "PADV2 MAX_POOL_2D"),
    "average": (lambda: nn.AvgPool2d(2), IMAGE, "AVERAGE_POOL_2D"),
    "average, zeros counted": (lambda: nn.AvgPool2d(3, 1, 1), IMAGE, "PAD AVERAGE_POOL_2D"),
    "average, zeros not counted": (
        lambda: nn.AvgPool2d(3, 1, 1, count_include_pad=False), IMAGE, "AVERAGE_POOL_2D"
    ),
    "mean over positions": (
        lambda: Forward(lambda conv, x: conv(x).mean((2, 3)), nn.Conv2d(4, 5, 1)),
        IMAGE,
        "CONV_2D AVERAGE_POOL_2D RESHAPE"
    ),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((1, 2)), IMAGE, "AVERAGE_POOL_2D"),
    "sum": (lambda: Forward(lambda conv, x: x + conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D ADD"),
    "sum, relu": (lambda: Forward(lambda conv, x: F.relu(conv(x) + x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D ADD"),
    "difference": (lambda: Forward(lambda conv, x: x - conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D SUB"),
    "from a number": (lambda: Forward(lambda x: 2 - x), IMAGE, "SUB"),
    "quotient by a number": (lambda: Forward(lambda x: x / 3), IMAGE, "MUL"),
    "product": (lambda: Forward(lambda conv, x: x * conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D MUL"),
    "gate by channel": (
        lambda: Forward(lambda conv, x: x * conv(F.adaptive_avg_pool2d(x, 1)).sigmoid(), nn.Conv2d(4, 4, 1)),
        IMAGE,
        "AVERAGE_POOL_2D CONV_2D LOGISTIC MUL",
    ),
    "concatenation": (
        lambda: Forward(lambda conv, x: torch.cat([x, conv(x)], 1), nn.Conv2d(4, 2, 1)), IMAGE, "CONV_2D CONCATENATION"
    ),
    "concatenation with a fixed grid": (
        lambda: Forward(lambda conv, x: torch.cat([x, conv(x).tanh()], 1), nn.Conv2d(4, 2, 1)),
        IMAGE,
        "CONV_2D TANH QUANTIZE CONCATENATION",
    ),
    "relu alone": (lambda: Forward(lambda conv, x: F.relu(x) + conv(x), nn.Conv2d(4, 4, 1)), IMAGE, "RELU CONV_2D ADD"),
    "relu6 alone": (lambda: Forward(lambda x: F.relu6(x) + x), IMAGE, "RELU6 ADD"),
    "softmax": (lambda: nn.Sequential(nn.Linear(12, 9), nn.Softmax(1)), VECTOR, "FULLY_CONNECTED SOFTMAX"),
    "softmax of channels": (lambda: nn.Sequential(nn.Conv2d(4, 6, 1), nn.Softmax(1)), IMAGE, "CONV_2D SOFTMAX"),
    "padding": (lambda: nn.Sequential(nn.ZeroPad2d((1, 2, 0, 1)), nn.MaxPool2d(2)), IMAGE, "PAD MAX_POOL_2D"),
    "slice": (
        lambda: Forward(lambda conv, x: conv(x)[:, 1:3, ::2], nn.Conv2d(4, 4, 1)), IMAGE, "CONV_2D STRIDED_SLICE"
    ),
    "last step": (
        lambda: Forward(lambda conv, linear, x: linear(conv(x)[:, :, -1]), nn.Conv1d(4, 6, 3), nn.Linear(6, 2)),
        SIGNAL,
        "CONV_2D STRIDED_SLICE RESHAPE FULLY_CONNECTED",
    ),
    "transposition": (
        lambda: Forward(lambda linear, x: linear(x.transpose(1, 2)), nn.Linear(4, 5)),
        SIGNAL,
        "TRANSPOSE CONV_2D"
    ),
    "one layer twice": (
        lambda: Forward(lambda conv, x: conv(F.relu(conv(x))), nn.Conv2d(4, 4, 3, padding=1)), IMAGE, "CONV_2D"
    ),
}  # fmt: skip


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("name", NETS)
def test_each_kernel_computes_tflite_micros_bytes(name: str, bits: int) -> None:
    make, shape, operators = NETS[name]
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
}


def function(make: Callable[[], Kernel], source: Grid, target: Grid, width: int = 256) -> IntegerGraph:
    x, y = IntegerTensor("x", (1, width), source), IntegerTensor("y", (1, width), target)
    return IntegerGraph((IntegerNode("f", "", make(), (x,), y),), (x,), (y,), (0,), (0,))


GRIDS = st.tuples(st.floats(2**-9, 2**-1, width=32), st.integers(-128, 127)).map(lambda each: Grid(*each))


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=40)
@given(source=GRIDS, target=GRIDS)
def test_functions_of_every_code(name: str, source: Grid, target: Grid) -> None:
    make, fixed = FUNCTIONS[name]
    assume(name != "HARD_SWISH" or target.scale > source.scale / 64)  # TFLite Micro refuses much finer results
    graph = function(make, source, fixed or target)
    codes = torch.arange(-128, 128).to(torch.int8)[None]
    (theirs,) = run_tflm(to_tflite(graph), codes.numpy())
    (ours,) = predict(graph, codes)
    assert (ours.numpy() != theirs).sum() == 0


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
    (theirs,) = run_tflm(to_tflite(graph), codes.numpy())
    (ours,) = predict(graph, codes)
    assert (ours.numpy() != theirs).sum() == 0
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
