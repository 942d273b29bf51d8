"""Random architectures and random options of single layers: what Keras computes is what torch computes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from hypothesis import given, note, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.graph import trace
from mcubench.parity import compare, load_keras, to_keras
from tests.graph.compare import batch_like, randomised
from tests.graph.test_random_architectures import architectures

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")

BOUND = 1e-5
# What Keras has no counterpart for, of all that is drawn here: an operation and its path are named.
REFUSED = re.compile(
    r"can't be built in Keras: [\w.()]+: "
    r"(Conv|DepthwiseConv) [^:]+: Keras has no convolution with a stride and a dilation at once"
)


def check(module: nn.Module, example: Tensor, seed: int = 0) -> None:
    note(str(module))
    note(f"input {tuple(example.shape)}")
    try:
        graph = trace(module, example)
        model = to_keras(graph)
    except UserError as error:
        if not REFUSED.match(str(error)) or not strided_and_dilated(module):
            raise
        reject()
    torch.manual_seed(seed)
    report = compare(module, model, batch_like(example), BOUND, graph=graph)
    note(f"{report.structure}")
    assert report.passed, report.verdict()
    assert report.outputs
    assert None not in report.macs
    assert report.macs[0] == report.macs[1]
    assert all(layer.params[0] == layer.params[1] for layer in report.layers)


def strided_and_dilated(module: nn.Module) -> bool:
    layers = [each for each in module.modules() if isinstance(each, (nn.Conv1d, nn.Conv2d, nn.Conv3d))]
    return any(max(each.stride) > 1 and max(each.dilation) > 1 for each in layers)


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """Keras remembers something of every model of a process."""
    load_keras().backend.clear_session()


@settings(max_examples=60)
@given(architectures())
def test_random_architectures(drawn: tuple[nn.Module, Tensor]) -> None:
    check(*drawn)


CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAXIMA = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGES = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}


@st.composite
def sizes(draw: st.DrawFn, rank: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(low, high)) for _ in range(rank))


@st.composite
def single_layers(draw: st.DrawFn) -> tuple[nn.Module, Tensor]:
    """One layer with any options, behind a convolution of size 1, so that the channels are last."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    rank = draw(st.integers(1, 3))
    size = draw(sizes(rank, 3, 9 if rank == 3 else 14))
    channels = draw(st.integers(1, 6))
    kind = draw(st.sampled_from(["convolution", "transposed", "pool", "resize", "norm"]))
    groups = draw(st.sampled_from([each for each in range(1, channels + 1) if channels % each == 0]))
    outputs = groups * draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, min(5, each))) for each in size)
    bias = draw(st.booleans())
    layer: nn.Module
    if kind == "convolution":
        strided = draw(st.booleans())
        dilation = (1,) * rank if strided else tuple(draw(st.integers(1, 3)) for _ in size)
        stride = draw(sizes(rank, 1, 4)) if strided else (1,) * rank
        layer = CONVOLUTIONS[rank](channels, outputs, kernel, stride, draw(sizes(rank, 0, 4)), dilation, groups, bias)
        wide = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        room = zip(size, layer.padding, wide, strict=True)
        if any(length + 2 * padding < reach for length, padding, reach in room):
            reject()
    elif kind == "transposed":
        stride = draw(sizes(rank, 1, 4))
        padding = tuple(draw(st.integers(0, each - 1)) for each in kernel)
        extra = tuple(draw(st.integers(0, each - 1)) for each in stride)
        layer = TRANSPOSED[rank](channels, outputs, kernel, stride, padding, extra, groups, bias)
    elif kind == "pool":
        options: dict[str, Any] = {
            "stride": draw(sizes(rank, 1, 4)),
            "padding": tuple(draw(st.integers(0, each // 2)) for each in kernel),
            "ceil_mode": draw(st.booleans()),
        }
        if draw(st.booleans()):
            layer = MAXIMA[rank](kernel, **options)
        else:
            layer = AVERAGES[rank](kernel, count_include_pad=draw(st.booleans()), **options)
    elif kind == "resize":
        corners = draw(st.sampled_from([None, True]))
        wanted = draw(sizes(rank, 1, 20).filter(lambda found: found != size))
        layer = nn.Upsample(wanted, mode=SMOOTH[rank], align_corners=corners)
    else:
        layer = nn.GroupNorm(groups, channels, affine=bias, eps=draw(st.sampled_from([1e-5, 0.1])))
    module = nn.Sequential(CONVOLUTIONS[rank](2, channels, 1), layer, nn.ReLU())
    return randomised(module), torch.zeros(1, 2, *size)


@settings(max_examples=120)
@given(single_layers())
def test_random_options_of_layers(drawn: tuple[nn.Module, Tensor]) -> None:
    check(*drawn)
