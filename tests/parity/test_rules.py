"""Rule by rule: what is built in Keras computes what torch itself computes."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.graph import trace
from mcubench.parity import ParityReport, compare, load_keras, save_model, to_keras
from tests.graph.compare import Forward, batch_like, call, cases, leaves, randomised

BOUND = 1e-5
SIGNAL, IMAGE, VOLUME, SEQUENCE, FEATURES = (4, 15), (4, 9, 11), (2, 5, 6, 7), (7, 8), (12,)

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def outputs_of(model: Any, batch: Any, batch_dim: int = 0) -> list[np.ndarray]:
    """What a Keras model returns for a batch as torch takes it, brought to the shapes that it wants."""
    keras = load_keras()
    inputs = []
    for wanted, given in zip(model.inputs, leaves(batch), strict=True):
        front = given.movedim(batch_dim, 0)
        if tuple(front.shape[1:]) != tuple(wanted.shape[1:]):  # all sizes in these tests are different
            front = front.movedim(1, -1)
        assert tuple(front.shape[1:]) == tuple(wanted.shape[1:])
        inputs.append(keras.ops.convert_to_tensor(front.contiguous().numpy()))
    with keras.device("cpu:0" if keras.backend.backend() == "tensorflow" else "cpu"):
        result = model(inputs[0] if len(inputs) == 1 else inputs, training=False)
    return [np.asarray(keras.ops.convert_to_numpy(each)) for each in keras.tree.flatten(result)]


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Largest difference, relative to the largest element, with the axes in the order that fits best."""
    orders = itertools.permutations(range(found.ndim))
    turned = [found.transpose(order) for order in orders if found.transpose(order).shape == wanted.shape]
    assert turned, f"{found.shape} in Keras, {wanted.shape} in torch"
    assert np.isfinite(wanted.astype(np.float64)).all()
    scale = max(np.abs(wanted.astype(np.float64)).max(initial=0.0), 1e-30)
    return min(np.abs(each.astype(np.float64) - wanted.astype(np.float64)).max(initial=0.0) for each in turned) / scale


def same_as_torch(module: nn.Module, example: Any, batch_dim: int = 0, batch: Any = None) -> Any:
    """Builds a module, compares every layer, and the outputs without the help of `compare`; the Keras model."""
    module = randomised(module)
    graph = trace(module, example, batch_dim)
    model = to_keras(graph)
    batch = batch_like(example, batch_dim) if batch is None else batch
    found, wanted = outputs_of(model, batch, batch_dim), call(module, batch)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert distance(one, other.numpy()) <= BOUND
        assert one.dtype == other.numpy().dtype
    report = compare(module, model, batch, BOUND, batch_dim, graph=graph)
    assert report.passed, f"{report.verdict()}; {report.structure}"
    assert None not in report.macs
    assert report.macs[0] == report.macs[1]
    return model


def report_of(module: nn.Module, example: Any, model: Any = None) -> ParityReport:
    return compare(module, model or to_keras(module, example), batch_like(example), BOUND)


def function(what: Callable[..., Any], *layers: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Forward(what, *(layer() for layer in layers))


def on(shape: tuple[int, ...], table: dict[str, Callable[[], nn.Module]]) -> list[Any]:
    return [pytest.param(make, shape, id=name) for name, make in table.items()]


# --- layers ---

CONVOLUTIONS = [
    *on(
        SIGNAL,
        {
            "1d": lambda: nn.Conv1d(4, 5, 3),
            "1d stride": lambda: nn.Conv1d(4, 5, 4, stride=3, padding=2),
            "1d dilation": lambda: nn.Conv1d(4, 5, 3, dilation=3, padding=1, bias=False),
            "1d groups": lambda: nn.Conv1d(4, 6, 3, groups=2),
            "1d depthwise multiplier": lambda: nn.Conv1d(4, 12, 5, groups=4),
            "1d depthwise stride": lambda: nn.Conv1d(4, 4, 3, stride=2, padding=1, groups=4),
            "1d depthwise dilation": lambda: nn.Conv1d(4, 8, 3, dilation=2, padding="same", groups=4),
            "1d same": lambda: nn.Conv1d(4, 5, 5, padding="same"),
            "1d same even": lambda: nn.Conv1d(4, 5, 4, padding="same", dilation=3),
            "1d valid": lambda: nn.Conv1d(4, 5, 4, padding="valid"),
            "1d wider than the signal": lambda: nn.Conv1d(4, 5, 17, padding=4),
            "1d of one step": lambda: nn.Conv1d(4, 5, 15),
            "1d padded by hand": lambda: nn.Sequential(nn.ZeroPad1d((0, 2)), nn.Conv1d(4, 5, 3)),
            "1d causal": lambda: nn.Sequential(nn.ZeroPad1d((4, 0)), nn.Conv1d(4, 5, 3, dilation=2)),
            "1d reflect": lambda: nn.Conv1d(4, 5, 3, padding=1, padding_mode="reflect"),
            "1d circular": lambda: nn.Conv1d(4, 5, 3, padding=2, padding_mode="circular"),
            "1d replicate": lambda: nn.Conv1d(4, 5, 4, padding=3, padding_mode="replicate"),
            "1d in half": lambda: nn.Conv1d(4, 5, 2, stride=2),
        },
    ),
    *on((1, 15), {"1d of one channel": lambda: nn.Conv1d(1, 3, 3), "1d to one": lambda: nn.Conv1d(1, 1, 4, padding=1)}),
    *on(
        IMAGE,
        {
            "2d": lambda: nn.Conv2d(4, 5, (3, 2)),
            "2d stride": lambda: nn.Conv2d(4, 5, 3, stride=(2, 3), padding=(0, 2)),
            "2d stride as same": lambda: nn.Conv2d(4, 5, 3, stride=2, padding=1),
            "2d dilation": lambda: nn.Conv2d(4, 5, 3, dilation=(1, 2), padding=2),
            "2d groups": lambda: nn.Conv2d(4, 6, 3, groups=2),
            "2d groups stride": lambda: nn.Conv2d(4, 6, 3, groups=2, stride=(1, 2)),
            "2d groups dilation": lambda: nn.Conv2d(4, 6, 3, groups=2, dilation=2),
            "2d depthwise": lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1),
            "2d depthwise multiplier": lambda: nn.Conv2d(4, 12, 3, groups=4, stride=2),
            "2d depthwise dilation": lambda: nn.Conv2d(4, 8, 3, groups=4, dilation=2),
            "2d depthwise unequal dilation": lambda: nn.Conv2d(4, 8, 3, groups=4, dilation=(1, 3), padding="same"),
            "2d depthwise unequal strides": lambda: nn.Conv2d(4, 8, 3, groups=4, stride=(2, 1), padding=1),
            "2d same": lambda: nn.Conv2d(4, 5, (4, 3), padding="same"),
            "2d same dilation": lambda: nn.Conv2d(4, 5, (2, 3), padding="same", dilation=(3, 2), bias=False),
            "2d 1x1 stride": lambda: nn.Conv2d(4, 5, 1, stride=2),
            "2d replicate": lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="replicate"),
            "2d padded by hand": function(
                lambda conv, x: conv(F.pad(x, (0, 1, 2, 0))), lambda: nn.Conv2d(4, 5, 3, stride=2)
            ),
            "2d padded by minus infinity's opposite": function(
                lambda conv, x: conv(F.pad(x, (1, 1), value=0.5)), lambda: nn.Conv2d(4, 5, 3)
            ),
        },
    ),
    *on(
        VOLUME,
        {
            "3d": lambda: nn.Conv3d(2, 3, 3, padding=(1, 0, 2)),
            "3d stride": lambda: nn.Conv3d(2, 3, (1, 2, 3), stride=(1, 2, 3)),
            "3d dilation": lambda: nn.Conv3d(2, 3, 2, dilation=2),
            "3d groups": lambda: nn.Conv3d(2, 6, 3, groups=2, padding="same"),
        },
    ),
]

TRANSPOSED = [
    *on(
        SIGNAL,
        {
            "1d": lambda: nn.ConvTranspose1d(4, 5, 3),
            "1d all": lambda: nn.ConvTranspose1d(4, 6, 4, stride=3, padding=1, output_padding=2, groups=2),
            "1d stride beyond the kernel": lambda: nn.ConvTranspose1d(4, 5, 2, stride=3),
            "1d more than padding": lambda: nn.ConvTranspose1d(4, 5, 3, stride=4, padding=1, output_padding=3),
            "1d output padding alone": lambda: nn.ConvTranspose1d(4, 5, 3, stride=2, output_padding=1),
            "1d depthwise": lambda: nn.ConvTranspose1d(4, 4, 3, stride=2, groups=4, bias=False),
            "1d cropped by the kernel": lambda: nn.ConvTranspose1d(4, 5, 3, padding=2),
        },
    ),
    *on(
        IMAGE,
        {
            "2d": lambda: nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
            "2d unequal": lambda: nn.ConvTranspose2d(4, 3, (3, 2), stride=(2, 1), padding=(0, 1)),
            "2d more than padding": lambda: nn.ConvTranspose2d(
                4, 5, 3, stride=(3, 2), padding=(0, 1), output_padding=(2, 1)
            ),
            "2d groups": lambda: nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
            "2d kernel beyond the stride": lambda: nn.ConvTranspose2d(4, 3, 5, stride=2, padding=2, bias=False),
        },
    ),
    *on(VOLUME, {"3d": lambda: nn.ConvTranspose3d(2, 3, 2, stride=2, padding=(0, 1, 0))}),
]

POOLS = [
    *on(
        SIGNAL,
        {
            "max 1d": lambda: nn.MaxPool1d(3, 2, padding=1),
            "max 1d ceil": lambda: nn.MaxPool1d(4, ceil_mode=True),
            "max 1d ceil dropped": lambda: nn.MaxPool1d(2, 4, padding=1, ceil_mode=True),
            "max 1d apart": lambda: nn.MaxPool1d(2, 5),
            "avg 1d": lambda: nn.AvgPool1d(3, 2, padding=1),
            "avg 1d without padding": lambda: nn.AvgPool1d(3, 2, padding=1, count_include_pad=False),
            "avg 1d ceil": lambda: nn.AvgPool1d(4, 3, ceil_mode=True),
            "avg 1d ceil without padding": lambda: nn.AvgPool1d(4, 3, 2, ceil_mode=True, count_include_pad=False),
            "adaptive avg 1d": lambda: nn.AdaptiveAvgPool1d(5),
            "adaptive avg 1d inexact": lambda: nn.AdaptiveAvgPool1d(4),
            "adaptive avg 1d to one": lambda: nn.AdaptiveAvgPool1d(1),
            "adaptive avg 1d larger": lambda: nn.AdaptiveAvgPool1d(20),
            "adaptive max 1d inexact": lambda: nn.AdaptiveMaxPool1d(4),
            "lp": lambda: nn.LPPool1d(2, 3),
        },
    ),
    *on(
        IMAGE,
        {
            "max 2d": lambda: nn.MaxPool2d(3, 2, padding=1),
            "max 2d unequal": lambda: nn.MaxPool2d((2, 3), (3, 1), padding=(1, 0), ceil_mode=True),
            "max 2d ceil": lambda: nn.MaxPool2d(2, ceil_mode=True),
            "avg 2d": lambda: nn.AvgPool2d((3, 2), padding=(1, 0), count_include_pad=False),
            "avg 2d ceil": lambda: nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
            "avg 2d ceil without padding": lambda: nn.AvgPool2d(
                (4, 3), (3, 2), padding=(2, 1), ceil_mode=True, count_include_pad=False
            ),
            "adaptive avg 2d inexact": lambda: nn.AdaptiveAvgPool2d((4, None)),
            "adaptive avg 2d to one": lambda: nn.AdaptiveAvgPool2d((1, 3)),
            "adaptive max 2d inexact": lambda: nn.AdaptiveMaxPool2d((2, 5)),
        },
    ),
    *on(
        VOLUME,
        {
            "max 3d": lambda: nn.MaxPool3d(2, padding=1),
            "avg 3d ceil": lambda: nn.AvgPool3d(2, ceil_mode=True, padding=1),
            "avg 3d without padding": lambda: nn.AvgPool3d(3, 2, padding=1, count_include_pad=False),
            "adaptive avg 3d": lambda: nn.AdaptiveAvgPool3d((2, 3, 4)),
        },
    ),
]

NORMS = [
    *on(
        SIGNAL,
        {
            "batch 1d": lambda: nn.BatchNorm1d(4),
            "instance 1d": lambda: nn.InstanceNorm1d(4, affine=True),
            "instance 1d running": lambda: nn.InstanceNorm1d(4, track_running_stats=True, affine=True),
            "group": lambda: nn.GroupNorm(2, 4, eps=0.01),
            "group plain": lambda: nn.GroupNorm(4, 4, affine=False),
            "one group": lambda: nn.GroupNorm(1, 4),
            "layer": lambda: nn.LayerNorm(15),
            "layer of two axes": lambda: nn.LayerNorm((4, 15), elementwise_affine=False),
            "layer without bias": lambda: nn.LayerNorm(15, bias=False, eps=0.1),
            "rms": lambda: nn.RMSNorm(15, eps=1e-3),
            "rms plain": lambda: nn.RMSNorm(15, elementwise_affine=False, eps=1e-3),
            "rms with its own epsilon": lambda: nn.RMSNorm(15),
            "rms of two axes": lambda: nn.RMSNorm((4, 15), eps=1e-3),
            "prelu": nn.PReLU,
            "prelu by channel": lambda: nn.PReLU(4, init=0.3),
            "local response": lambda: nn.LocalResponseNorm(2),
        },
    ),
    *on(
        IMAGE,
        {
            "batch 2d": lambda: nn.BatchNorm2d(4, eps=0.1),
            "batch 2d plain": lambda: nn.BatchNorm2d(4, affine=False),
            "instance 2d": lambda: nn.InstanceNorm2d(4),
            "group 2d": lambda: nn.GroupNorm(2, 4),
            "layer of three axes": lambda: nn.LayerNorm((4, 9, 11)),
            "layer of three axes behind a convolution": lambda: nn.Sequential(
                nn.Conv2d(4, 5, 3), nn.LayerNorm((5, 7, 9)), nn.Conv2d(5, 3, 1)
            ),
            "rms of three axes behind a convolution": lambda: nn.Sequential(
                nn.Conv2d(4, 5, 3), nn.RMSNorm((5, 7, 9), eps=1e-4)
            ),
            "prelu by channel 2d": lambda: nn.Sequential(nn.Conv2d(4, 5, 2), nn.PReLU(5)),
        },
    ),
    *on(VOLUME, {"batch 3d": lambda: nn.BatchNorm3d(2), "group 3d": lambda: nn.GroupNorm(1, 2)}),
    *on(
        FEATURES,
        {
            "batch of features": lambda: nn.BatchNorm1d(12),
            "group of features": lambda: nn.GroupNorm(3, 12),
            "rms of features": lambda: nn.RMSNorm(12, eps=1e-2),
            "prelu of features": lambda: nn.PReLU(12),
            "normalised by hand": function(lambda x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)),
        },
    ),
]

DENSE = [
    *on(FEATURES, {"linear": lambda: nn.Linear(12, 5), "no bias": lambda: nn.Linear(12, 5, bias=False)}),
    *on(
        SEQUENCE,
        {
            "linear on the last axis": lambda: nn.Linear(8, 3),
            "attention": function(
                lambda layer, x: layer(x, x, x), lambda: nn.MultiheadAttention(8, 2, batch_first=True)
            ),
            "attention to others": function(
                lambda layer, x: layer(x, x[:, :3], x[:, :3], average_attn_weights=False)[1],
                lambda: nn.MultiheadAttention(8, 2, batch_first=True),
            ),
            "attention masked": function(
                lambda layer, x: layer(x, x, x, need_weights=False, attn_mask=torch.ones(7, 7).triu(1).bool())[0],
                lambda: nn.MultiheadAttention(8, 2, batch_first=True),
            ),
            "encoder layer": lambda: nn.TransformerEncoderLayer(
                8, 2, 16, batch_first=True, norm_first=True, activation="gelu"
            ),
            "decoder layer": function(
                lambda layer, x: layer(x, x * 2), lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True)
            ),
        },
    ),
    *on(
        IMAGE,
        {
            "flattened behind a convolution": lambda: nn.Sequential(
                nn.Conv2d(4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 7 * 9, 5)
            ),
            "flattened and normalised": lambda: nn.Sequential(
                nn.Conv2d(4, 3, 3), nn.Flatten(), nn.LayerNorm(3 * 7 * 9), nn.Linear(3 * 7 * 9, 5)
            ),
            "flattened twice": function(
                lambda conv, one, two, x: one(conv(x).flatten(1)) * two(conv(x).flatten(1)),
                lambda: nn.Conv2d(4, 3, 3),
                lambda: nn.Linear(3 * 7 * 9, 5),
                lambda: nn.Linear(3 * 7 * 9, 5),
            ),
        },
    ),
]


@pytest.mark.parametrize(("make", "shape"), CONVOLUTIONS)
def test_convolutions(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_torch(make(), torch.zeros(1, *shape))


@pytest.mark.parametrize(("make", "shape"), TRANSPOSED)
def test_transposed_convolutions(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_torch(make(), torch.zeros(1, *shape))


@pytest.mark.parametrize(("make", "shape"), POOLS)
def test_pools(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_torch(make(), torch.zeros(1, *shape))


@pytest.mark.parametrize(("make", "shape"), NORMS)
def test_norms(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    module = make()
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn_like(weight))
    same_as_torch(module, torch.zeros(1, *shape))


@pytest.mark.parametrize(("make", "shape"), DENSE)
def test_dense_layers(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_torch(make(), torch.zeros(1, *shape))


def test_padding_of_a_maximum_never_wins() -> None:
    x = -10 - torch.rand(3, 4, 15)
    same_as_torch(nn.MaxPool1d(3, 2, padding=1), x[:1], batch=x)


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embeddings(padding_idx: int | None) -> None:
    module = nn.Embedding(5, 3, padding_idx=padding_idx)
    x = torch.tensor([[0, 4, 2, 2], [1, 1, 3, 0]])
    same_as_torch(module, x[:1], batch=x)


# --- functions of one element, and of several ---

BETWEEN = 0.3  # sizes of steps; no element of a random signal lies on one

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu6": lambda x: F.relu6(x * 5),
    "hardtanh": F.hardtanh,
    "hardtanh wide": lambda x: F.hardtanh(x, -2.0, 0.5),
    "clamp min": lambda x: x.clamp(min=0.1),
    "clamp max": lambda x: x.clamp(max=BETWEEN),
    "clamp both": lambda x: torch.clip(x, -0.5, 0.25),
    "clamp_min": lambda x: torch.clamp_min(x, -0.2),
    "clamp_max": lambda x: torch.clamp_max(x, -0.2),
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "hardswish": lambda x: F.hardswish(x * 3),
    "hardsigmoid": lambda x: F.hardsigmoid(x * 3),
    "silu": F.silu,
    "mish": F.mish,
    "leaky relu": F.leaky_relu,
    "leaky relu steep": lambda x: F.leaky_relu(x, 0.2),
    "rrelu": F.rrelu,
    "elu": lambda x: F.elu(x, 0.7),
    "celu": lambda x: F.celu(x, 0.7),
    "selu": F.selu,
    "softplus": lambda x: F.softplus(x * 30),
    "softplus beta": lambda x: F.softplus(x * 30, 2.0),
    "softplus small beta": lambda x: F.softplus(x * 100, 0.1),
    "softsign": F.softsign,
    "softshrink": lambda x: F.softshrink(x, 0.3),
    "hardshrink": F.hardshrink,
    "tanhshrink": F.tanhshrink,
    "logsigmoid": lambda x: F.logsigmoid(x * 20),
    "threshold": lambda x: F.threshold(x, 0.1, -2.0),
    "sigmoid": lambda x: torch.sigmoid(x * 20),
    "tanh": torch.tanh,
    "abs": torch.abs,
    "neg": torch.neg,
    "exp": torch.exp,
    "expm1": lambda x: torch.expm1(x * 1e-3),
    "log": lambda x: x.abs().add(0.1).log(),
    "log1p": lambda x: torch.log1p(x.square()),
    "sqrt": lambda x: x.abs().sqrt(),
    "rsqrt": lambda x: (x.abs() + 0.1).rsqrt(),
    "square": torch.square,
    "reciprocal": lambda x: (x.abs() + 1).reciprocal(),
    "sign": torch.sign,
    "erf": torch.erf,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": lambda x: x.tanh().tan(),
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "atan": torch.atan,
    "floor": lambda x: (x * 3).floor(),
    "ceil": lambda x: (x * 3).ceil(),
    "round": lambda x: (x * 3).round(),
    "round halves": lambda x: (x * 3).round() / 2 + ((x * 3).round() / 2).round(),
    "logical not": lambda x: (x > 0).logical_not(),
    "cast": lambda x: (x * 3).int().float() + x.double().float(),
    "to bool": lambda x: (x > BETWEEN).float(),
}

ELEMENTWISE: dict[str, Callable[[Tensor], Tensor]] = {
    "add": lambda x: x + x.tanh(),
    "add with alpha": lambda x: torch.add(x, x.tanh(), alpha=-2.5),
    "add a number with alpha": lambda x: torch.add(x, 3, alpha=0.5),
    "sub": lambda x: x.exp() - x,
    "sub with alpha": lambda x: torch.sub(x, x.tanh(), alpha=0.5),
    "number minus": lambda x: 1 - x,
    "rsub with alpha": lambda x: torch.rsub(x, x.tanh(), alpha=3),
    "rsub of a number with alpha": lambda x: torch.rsub(x, 2.0, alpha=3),
    "mul": lambda x: x * x.tanh(),
    "mul by a number": lambda x: x * 0.3,
    "div": lambda x: x / (x.abs() + 1),
    "div by a number": lambda x: x / 3,
    "number divided": lambda x: 2 / (x.abs() + 0.5),
    "power": lambda x: x**3,
    "power of two": lambda x: x**2,
    "root": lambda x: x.abs() ** 0.5,
    "power of a number": lambda x: 2**x,
    "power of both": lambda x: x.abs() ** x,
    "maximum": lambda x: torch.maximum(x, -x),
    "minimum": lambda x: torch.minimum(x, x.square()),
    "maximum of other ranks": lambda x: torch.maximum(x, x.flatten(1).mean(1)[:, None, None]),
    "atan2": lambda x: torch.atan2(x, x.exp()),
    "fmod": lambda x: torch.fmod(x * 5, 2),
    "remainder": lambda x: (x * 5) % 2,
    "remainder of both": lambda x: torch.remainder(x * 5, x.abs() + 0.7),
    "equal": lambda x: (x > 0) == (x > 0.5),
    "not equal": lambda x: x.relu() != x,
    "less": lambda x: x < x.square(),
    "at most": lambda x: x <= 0.4,
    "greater": lambda x: x > 0.1,
    "at least": lambda x: x >= x.relu(),
    "and": lambda x: (x > -1).logical_and(x < 0.5),
    "or": lambda x: (x < -1).logical_or(x > 0.5),
    "where": lambda x: torch.where(x > 0, x, x.exp()),
    "where a number": lambda x: torch.where(x > 0, x, -1.0),
    "where numbers": lambda x: torch.where(x > 0, 1.5, -1.0),
    "where another rank": lambda x: torch.where(x.mean(2, keepdim=True) > 0, x, x.exp()),
    "masked fill": lambda x: x.masked_fill(x > 0.5, 0.5),
    "channels by steps": lambda x: x.mean(2, keepdim=True) * x.mean(1, keepdim=True),
    "a scalar by a signal": lambda x: x * x.mean((1, 2))[:, None, None],
    "rows by another rank": lambda x: x[:, None] - x[:, :, None],
    "integers": lambda x: (x * 4).int() + (x * 9).int() * 2,
    "not": lambda x: ~(x > 0),
    "both": lambda x: (x > -1) & (x < 0.5),
    "boolean by float": lambda x: (x > 0) * x,
    "boolean and float": lambda x: (x > 0) + x,
    "integer and float": lambda x: (x * 3).int() + x,
    "integers divided": lambda x: (x * 3).int() / 2,
    "glu": lambda x: F.glu(x, 1),
    "in place": lambda x: x.mul(2).add_(1).relu_(),
    "normalise": lambda x: F.normalize(x, dim=1),
    "weight": lambda x: x + torch.linspace(-1, 1, 15),
    "weight of a channel": lambda x: torch.linspace(-1, 1, 4)[:, None] * x,
    "weight minus": lambda x: torch.linspace(-1, 1, 60).view(1, 4, 15) - x,
    "weight of one element": lambda x: x * torch.tensor([0.3]),
    "weight above": lambda x: torch.maximum(x, torch.linspace(-1, 1, 15)),
    "where a weight": lambda x: torch.where(torch.arange(15) > 4, x, torch.linspace(-1, 1, 15)),
    "weight to the power": lambda x: torch.linspace(0.5, 2, 15) ** x,
}


@pytest.mark.parametrize("behind", ["input", "convolution"])
@pytest.mark.parametrize("what", cases(ACTIVATIONS))
def test_activations(what: Callable[[Tensor], Tensor], behind: str) -> None:
    same_as_torch(behind_a_layer(what, behind), torch.zeros(1, *SIGNAL))


@pytest.mark.parametrize("behind", ["input", "convolution"])
@pytest.mark.parametrize("what", cases(ELEMENTWISE))
def test_elementwise(what: Callable[[Tensor], Tensor], behind: str) -> None:
    same_as_torch(behind_a_layer(what, behind), torch.zeros(1, *SIGNAL))


def behind_a_layer(what: Callable[[Tensor], Any], behind: str, rank: int = 1) -> nn.Module:
    """A function of the input, as traced, or of a layer, with channels last."""
    kind = {1: nn.Conv1d, 2: nn.Conv2d}[rank]
    layer = kind(4, 4, 3, padding=1) if behind == "convolution" else nn.Identity()
    return Forward(lambda first, x: what(first(x)), layer)


def test_activations_as_modules_have_their_names() -> None:
    module = nn.Sequential(nn.LeakyReLU(0.3), nn.ELU(0.5), nn.Softmax(-1), nn.Hardswish())
    model = same_as_torch(module, torch.zeros(1, *FEATURES))
    kinds = [type(model.get_layer(str(index))).__name__ for index in range(4)]
    assert kinds == ["LeakyReLU", "ELU", "Softmax", "Activation"]


# --- reductions and softmax ---

REDUCTIONS: dict[str, Callable[[Tensor], Any]] = {
    "mean": lambda x: x.mean((2, 3)),
    "mean of one axis": lambda x: x.mean(-2),
    "mean of channels": lambda x: x.mean(1, keepdim=True),
    "mean keepdim": lambda x: x.mean((2, 3), keepdim=True),
    "mean of a sample": lambda x: x.mean((1, 2, 3)),
    "mean of all but a step": lambda x: x.mean((1, 3)),
    "sum": lambda x: x.sum(dim=[1, 3]),
    "amax": lambda x: x.amax((2, 3)),
    "amax keepdim": lambda x: x.amax((1, 2), keepdim=True),
    "amin": lambda x: x.amin(-1, keepdim=True),
    "max.dim": lambda x: x.max(dim=2),
    "min.dim indices": lambda x: x.min(dim=3, keepdim=True).indices,
    "var": lambda x: x.var((2, 3)),
    "var biased": lambda x: x.var(1, unbiased=False, keepdim=True),
    "std": lambda x: torch.std(x, dim=(1, 3), correction=2),
    "std keepdim": lambda x: x.std((2, 3), keepdim=True),
    "argmax": lambda x: x.argmax(1),
    "argmax of rows": lambda x: x.argmax(2, keepdim=True),
    "argmin": lambda x: x.argmin(-1, keepdim=True),
    "argmax of a sample": lambda x: x.flatten(1).argmax(1),
    "norm": lambda x: x.norm(dim=1),
    "norm of order 1": lambda x: torch.linalg.vector_norm(x, 1, (2, 3)),
    "norm keepdim": lambda x: torch.linalg.vector_norm(x, 2, (1, 2), keepdim=True),
    "prod": lambda x: x.prod(2),
    "sum of integers": lambda x: (x * 3).int().sum(1),
    "logsumexp": lambda x: x.logsumexp(1),
    "logsumexp of two axes": lambda x: (x * 30).logsumexp((1, 3), keepdim=True),
    "any": lambda x: (x > 1).any(1),
    "all": lambda x: (x > -1).all(-1),
    "count": lambda x: (x > 0).float().sum((1, 2)),
    "count of booleans": lambda x: (x > 0).sum((1, 2)),
    "softmax": lambda x: x.softmax(-1),
    "softmax of channels": lambda x: F.softmax(x * 20, dim=1),
    "log softmax": lambda x: F.log_softmax(x, dim=1),
    "softmin": lambda x: F.softmin(x, dim=2),
}


@pytest.mark.parametrize("behind", ["input", "convolution"])
@pytest.mark.parametrize("what", cases(REDUCTIONS))
def test_reductions(what: Callable[[Tensor], Any], behind: str) -> None:
    same_as_torch(behind_a_layer(what, behind, rank=2), torch.zeros(1, *IMAGE))


def test_reductions_of_other_ranks() -> None:
    same_as_torch(Forward(lambda x: (x.mean(1), x.amax(1), x.sum(1, keepdim=True))), torch.zeros(1, *FEATURES))
    same_as_torch(Forward(lambda x: (x.mean((2, 3, 4)), x.amax((1, 2, 3)), x.std((1, 4)))), torch.zeros(1, *VOLUME))


# --- what moves elements ---

MOVES: dict[str, Callable[[Tensor], Any]] = {
    "cat": lambda x: torch.cat([x, x.relu(), x[:, :1]], 1),
    "cat last": lambda x: torch.cat([x, x.tanh()], -1),
    "cat with a constant": lambda x: torch.cat([x, torch.ones(x.shape[0], 2, 9, 11)], dim=1),
    "cat with a weight": lambda x: torch.cat([torch.arange(44.0).view(1, 4, 1, 11).expand(len(x), -1, -1, -1), x], 2),
    "stack in front": lambda x: torch.stack([x, -x], 1),
    "stack behind": lambda x: torch.stack([x, x * 2, x * 3], dim=-1),
    "split": lambda x: [part * 2 for part in x.split(4, dim=2)],
    "split with sizes": lambda x: torch.split(x, [1, 3], dim=1)[1],
    "chunk": lambda x: x.chunk(3, dim=-1),
    "unbind": lambda x: sum(x.unbind(1)),
    "slice": lambda x: x[:, 1:, 2:-1, ::3],
    "slice to the end with a step": lambda x: x[:, :, 1::2, 3:10:4],
    "slice from the end": lambda x: x[..., -4:],
    "negative index": lambda x: x[:, -1] + x[:, :, :, -2:-1].mean(1),
    "select a row": lambda x: x[:, :, 3],
    "select a column": lambda x: x[..., -1],
    "new axis": lambda x: x[..., None, 0],
    "narrow": lambda x: x.narrow(2, 3, 4),
    "index_select": lambda x: x.index_select(1, torch.tensor([2, 0, 2])),
    "index_select of rows": lambda x: x.index_select(2, torch.tensor([8, 1, 1, 0])),
    "flip": lambda x: x.index_select(3, torch.arange(10, -1, -1)),
    "reflect": lambda x: F.pad(x, (2, 1, 1, 3), mode="reflect"),
    "reflect as far as it goes": lambda x: F.pad(x, (10, 10, 8, 0), mode="reflect"),
    "replicate": lambda x: F.pad(x, (2, 1, 1, 3), mode="replicate"),
    "circular": lambda x: F.pad(x, (2, 1, 1, 3), mode="circular"),
    "circular as far as it goes": lambda x: F.pad(x, (11, 11, 9, 0), mode="circular"),
    "constant": lambda x: F.pad(x, (0, 1, 0, 0, 2, 0), value=-3.0),
    "constant of space": lambda x: F.pad(x, (0, 1, 2, 0), value=1.5),
    "zeros": lambda x: F.pad(x, (0, 1, 2, 0)),
    "zeros of channels": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "cropping": lambda x: F.pad(x, (-1, 0, 0, -2)),
    "cropping and padding": lambda x: F.pad(x, (-1, 2, 3, -2), value=0.5),
    "cropping and padding by zeros": lambda x: F.pad(x, (-1, 2, 3, -2)),
    "repeat": lambda x: x.repeat(1, 2, 1, 3),
    "repeat to a higher rank": lambda x: x.mean((2, 3)).repeat(1, 2),
    "tile": lambda x: x.tile((2, 1)),
    "expand": lambda x: x.mean(2, keepdim=True).expand(-1, -1, 5, -1),
    "expand to a higher rank": lambda x: x[:, None].expand(-1, 3, -1, -1, -1),
    "expand_as": lambda x: x.mean((1, 2, 3), keepdim=True).expand_as(x),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, -1),
    "transpose space": lambda x: x.transpose(2, 3),
    "batch behind and back": lambda x: x.permute(1, 2, 3, 0).relu().permute(3, 0, 1, 2),
    "batch merged and back": lambda x: (x.flatten(0, 1).mean(-1) * 2).view(x.shape[0], -1),
    "flatten": lambda x: x.flatten(1),
    "flatten in the middle": lambda x: x.flatten(1, 2),
    "view": lambda x: x.view(x.size(0), 2, 2, -1),
    "unflatten": lambda x: x.unflatten(2, (3, 3)).mean(3),
    "squeeze": lambda x: x[:, :, :1].squeeze(2).unsqueeze(1),
    "channel shuffle": lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2),
    "pixel shuffle": lambda x: F.pixel_shuffle(x, 2),
    "same twice": lambda x: (x.relu(), x.relu().clone(), x),
}  # fmt: skip

RESIZES = {
    "nearest": {"scale_factor": 2},
    "nearest unequal": {"scale_factor": (3, 2)},
    "nearest not whole": {"scale_factor": 1.7},
    "nearest smaller": {"scale_factor": 0.6},
    "nearest nearly whole": {"scale_factor": (3.1, 4.2)},
    "nearest nearly double": {"scale_factor": 2.05},
    "nearest nearly double, large": {"scale_factor": (2.05, 9.05)},
    "nearest of about the same size": {"scale_factor": 1.05},
    "nearest to a size": {"size": (13, 10)},
    "nearest-exact": {"scale_factor": 2, "mode": "nearest-exact"},
    "nearest-exact to a size": {"size": (14, 7), "mode": "nearest-exact"},
    "nearest-exact nearly whole": {"scale_factor": (3.1, 2.05), "mode": "nearest-exact"},
    "nearest-exact not whole": {"scale_factor": 1.7, "mode": "nearest-exact"},
    "bilinear": {"scale_factor": 2, "mode": "bilinear"},
    "bilinear not whole": {"scale_factor": 1.7, "mode": "bilinear"},
    "bilinear with the computed scale": {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True},
    "bilinear nearly whole": {"scale_factor": (3.1, 2.05), "mode": "bilinear"},
    "bilinear of about the same size": {"scale_factor": (1.05, 1.5), "mode": "bilinear"},
    "bilinear smaller": {"size": (5, 4), "mode": "bilinear"},
    "bilinear corners": {"size": (20, 5), "mode": "bilinear", "align_corners": True},
    "bilinear corners to one": {"size": (1, 21), "mode": "bilinear", "align_corners": True},
}


@pytest.mark.parametrize("behind", ["input", "convolution"])
@pytest.mark.parametrize("what", cases(MOVES))
def test_moves(what: Callable[[Tensor], Any], behind: str) -> None:
    same_as_torch(behind_a_layer(what, behind, rank=2), torch.zeros(1, *IMAGE))


@pytest.mark.parametrize("options", cases(RESIZES))
def test_resizes(options: dict[str, Any]) -> None:
    same_as_torch(nn.Upsample(**options), torch.zeros(1, *IMAGE))


RESIZES_OF_OTHER_RANKS = {
    "nearest 1d": (SIGNAL, {"scale_factor": 3}),
    "nearest 1d not whole": (SIGNAL, {"size": 22}),
    "nearest 1d nearly double": (SIGNAL, {"scale_factor": 2.05}),
    "nearest 1d of about the same size": (SIGNAL, {"scale_factor": 1.05}),
    "nearest 3d nearly double": (VOLUME, {"scale_factor": 2.1}),
    "nearest-exact one less": ((4, 6), {"size": 19, "mode": "nearest-exact"}),
    "linear": (SIGNAL, {"scale_factor": 1.5, "mode": "linear"}),
    "linear to the same size": (SIGNAL, {"size": 15, "mode": "linear"}),
    "linear corners": (SIGNAL, {"size": 7, "mode": "linear", "align_corners": True}),
    "nearest 3d": (VOLUME, {"scale_factor": 2}),
    "trilinear": (VOLUME, {"size": (7, 3, 11), "mode": "trilinear"}),
}


@pytest.mark.parametrize(("shape", "options"), cases(RESIZES_OF_OTHER_RANKS))
def test_resizes_of_other_ranks(shape: tuple[int, ...], options: dict[str, Any]) -> None:
    same_as_torch(nn.Upsample(**options), torch.zeros(1, *shape))


# --- products ---

PRODUCTS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "matmul by a weight": (lambda x: x @ torch.linspace(-1, 1, 40).view(8, 5), SEQUENCE),
    "weight by matmul": (lambda x: torch.linspace(-1, 1, 35).view(5, 7) @ x, SEQUENCE),
    "matmul by a weight of an image": (lambda x: x @ torch.linspace(-1, 1, 55).view(11, 5), IMAGE),
    "weight by matmul of an image": (lambda x: torch.linspace(-1, 1, 45).view(5, 9) @ x, IMAGE),
    "weights of a batch of matrices": (
        lambda x: torch.linspace(-1, 1, 70).view(2, 5, 7) @ x.unflatten(2, (2, 4)).movedim(2, 1), SEQUENCE),
    "by weights of a batch of matrices": (lambda x: x @ torch.linspace(-1, 1, 132).view(4, 11, 3), IMAGE),
    "matmul by a vector": (lambda x: x @ torch.linspace(-1, 1, 8), SEQUENCE),
    "vector by matmul": (lambda x: torch.linspace(-1, 1, 7) @ x, SEQUENCE),
    "features by a vector": (lambda x: x @ torch.linspace(-1, 1, 12), FEATURES),
    "matmul of computed": (lambda x: x @ x.transpose(1, 2), SEQUENCE),
    "matmul of other ranks": (lambda x: x @ x.mean(1).transpose(1, 2)[:, None], IMAGE),
    "bmm": (lambda x: torch.bmm(x, x.relu().mT), SEQUENCE),
    "baddbmm": (lambda x: torch.baddbmm(torch.ones(1, 7, 7), x, x.mT), SEQUENCE),
    "addmm": (lambda x: torch.addmm(torch.arange(3.0), x, torch.linspace(-1, 1, 36).view(12, 3)), FEATURES),
    "outer product": (lambda x: x[:, :, None] * x[:, None], FEATURES),
    "einsum with a weight": (lambda x: torch.einsum("btf,gf->btg", x, torch.linspace(-1, 1, 24).view(3, 8)), SEQUENCE),
    "einsum of computed": (lambda x: torch.einsum("bqf,bkf->bqk", x, x.relu()), SEQUENCE),
    "einsum by steps": (lambda x: torch.einsum("st,btf->bfs", torch.linspace(-1, 1, 21).view(3, 7), x), SEQUENCE),
    "einsum of steps": (
        lambda x: torch.einsum("btf,tfg->btg", x, torch.linspace(-1, 1, 168).view(7, 8, 3)), SEQUENCE),
    "einsum to one number": (lambda x: torch.einsum("btf,tf->b", x, torch.linspace(-1, 1, 56).view(7, 8)), SEQUENCE),
    "einsum of one operand": (lambda x: torch.einsum("btf->bft", x), SEQUENCE),
    "einsum of three": (
        lambda x: torch.einsum("btf,btg,gh->bfh", x, x.exp(), torch.linspace(-1, 1, 24).view(8, 3)), SEQUENCE),
    "causal by hand": (
        lambda x: (x @ x.mT + torch.full((7, 7), -torch.inf).triu(1)).softmax(-1) @ x, SEQUENCE),
    "einsum of elements": (lambda x: torch.einsum("btf,f->btf", x, torch.linspace(-1, 1, 8)), SEQUENCE),
    "einsum of capitals": (lambda x: torch.einsum("bZY,YX->bXZ", x, torch.linspace(-1, 1, 24).view(8, 3)), SEQUENCE),
    "linear with a computed operand": (
        lambda x: F.linear(x, torch.linspace(-1, 1, 24).view(3, 8), torch.ones(3)), SEQUENCE),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x * 2, x.relu()), SEQUENCE),
    "attention scaled": (lambda x: F.scaled_dot_product_attention(x, x, x[..., :3], scale=0.3), SEQUENCE),
    "attention causal": (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), SEQUENCE),
    "attention causal to fewer": (
        lambda x: F.scaled_dot_product_attention(x, x[:, :4], x[:, :4], is_causal=True), SEQUENCE),
    "attention causal of large scores": (
        lambda x: F.scaled_dot_product_attention(x * 100, x, x, is_causal=True), SEQUENCE),
    "attention with a mask": (
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=torch.ones(7, 7).tril().bool()), SEQUENCE
    ),
    "attention with a computed bias": (
        lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=x.mean(2)[:, None]), SEQUENCE
    ),
}  # fmt: skip


@pytest.mark.parametrize(("what", "shape"), cases(PRODUCTS))
def test_products(what: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    same_as_torch(Forward(what), torch.zeros(1, *shape))


class Weighted(nn.Module):
    """A function of the input and of trained weights of given shapes."""

    def __init__(self, what: Callable[..., Any], *shapes: tuple[int, ...]) -> None:
        super().__init__()
        self.what = what
        self.names = [f"weight{index}" for index in range(len(shapes))]
        for name, shape in zip(self.names, shapes, strict=True):
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, x: Tensor) -> Any:
        return self.what(x, *(getattr(self, name) for name in self.names))


TRAINED_OPERANDS: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]], tuple[int, ...]]] = {
    "scale": (lambda x, w: x * w, [(15,)], SIGNAL),
    "scale of channels": (lambda x, w: w * x, [(4, 1)], SIGNAL),
    "class token": (lambda x, w: torch.cat([w.expand(x.shape[0], -1, -1), x], 1), [(1, 1, 8)], SEQUENCE),
    "positions": (lambda x, w: x + w, [(1, 7, 8)], SEQUENCE),
    "distance to centres": (lambda x, w: (x[:, None] - w).square().sum(-1), [(5, 12)], FEATURES),
    "weights alone first": (lambda x, a, b: x @ (a @ b), [(12, 2), (2, 5)], FEATURES),
    "weight to the left": (lambda x, w: w @ x, [(3, 7)], SEQUENCE),
    "vector": (lambda x, w: x @ w, [(8,)], SEQUENCE),
    "two weights and an input": (lambda x, a, b: torch.where(x > 0, a, b), [(15,), (4, 1)], SIGNAL),
    "the same weight twice": (lambda x, w: (x * w).relu() * w, [(15,)], SIGNAL),
}


@pytest.mark.parametrize(("what", "shapes", "shape"), cases(TRAINED_OPERANDS))
def test_trained_operands(what: Callable[..., Any], shapes: list[tuple[int, ...]], shape: tuple[int, ...]) -> None:
    model = same_as_torch(Weighted(what, *shapes), torch.zeros(1, *shape))
    assert model.count_params() >= 1
    assert all(weight.trainable for weight in model.weights), "a parameter is trained on in Keras, too"


def test_buffers_are_not_trained() -> None:
    module = Weighted(lambda x: x * module.offset)
    module.register_buffer("offset", torch.randn(15))
    model = same_as_torch(module, torch.zeros(1, *SIGNAL))
    assert model.count_params() == 15
    assert not model.trainable_weights


# --- recurrent layers ---


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_recurrent_layers(kind: type[nn.RNNBase], layers: int, bidirectional: bool, batch_first: bool) -> None:
    """Steps and last states of all layers and directions."""
    module = kind(8, 5, layers, batch_first=batch_first, bidirectional=bidirectional, dropout=0.1 * (layers - 1))
    axis = 0 if batch_first else 1
    model = same_as_torch(module, torch.zeros(7, 8).unsqueeze(axis), batch_dim=axis)
    names = {nn.LSTM: "LSTM", nn.GRU: "GRU", nn.RNN: "SimpleRNN"}
    found = [type(layer).__name__ for layer in model.layers]
    assert found.count("Bidirectional" if bidirectional else names[kind]) == layers


RECURRENT_VARIANTS = {
    "relu": lambda: nn.RNN(8, 5, nonlinearity="relu", batch_first=True),
    "rnn no bias": lambda: nn.RNN(8, 5, 2, bias=False, batch_first=True),
    "lstm no bias": lambda: nn.LSTM(8, 5, bias=False, batch_first=True, bidirectional=True),
    "gru no bias": lambda: nn.GRU(8, 5, 2, bias=False, batch_first=True),
}


@pytest.mark.parametrize("make", cases(RECURRENT_VARIANTS))
def test_recurrent_variants(make: Callable[[], nn.RNNBase]) -> None:
    same_as_torch(Forward(lambda layer, x: layer(x)[0], make()), torch.zeros(1, *SEQUENCE))


def test_a_recurrent_layer_of_which_the_last_state_is_read() -> None:
    lstm, head = nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True), nn.Linear(10, 3)
    module = Forward(lambda rnn, last, x: last(torch.cat([rnn(x)[1][0][-2], rnn(x)[1][1][-1]], -1)), lstm, head)
    same_as_torch(module, torch.zeros(1, *SEQUENCE))


def test_a_recurrent_layer_called_twice_is_one() -> None:
    module = Forward(lambda rnn, x: rnn(rnn(x)[0])[0], nn.GRU(8, 8, batch_first=True))
    model = same_as_torch(module, torch.zeros(1, *SEQUENCE))
    assert model.count_params() == 2 * 3 * 8 * (8 + 1)


def stepped(cell: nn.RNNCellBase, x: Tensor) -> Tensor:
    state: Any = None
    hidden = x
    for step in x.unbind(1):
        state = cell(step, state)
        hidden = state[0] if isinstance(state, tuple) else state
    return hidden


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_loops_of_cells(kind: type[nn.RNNCellBase], bias: bool) -> None:
    model = same_as_torch(Forward(stepped, kind(8, 5, bias=bias)), torch.zeros(1, *SEQUENCE))
    cells = [layer for layer in model.layers if type(layer).__name__.endswith("Cell")]
    assert len(cells) == 1, "one cell, called seven times"


def test_a_cell_whose_state_is_computed() -> None:
    def decode(cell: nn.GRUCell, first: nn.Linear, x: Tensor) -> list[Tensor]:
        states = [first(x.mean(1)).tanh()]
        for step in x.unbind(1)[:3]:
            states.append(cell(step, states[-1]))
        return states

    same_as_torch(Forward(decode, nn.GRUCell(8, 5), nn.Linear(8, 5)), torch.zeros(1, *SEQUENCE))


# --- steps of a sample side by side: batch and steps merged, as TimeDistributed does ---

MERGED = {
    "conv": lambda: nn.Conv1d(4, 6, 3),
    "conv transposed": lambda: nn.ConvTranspose1d(4, 6, 3, stride=2, padding=1),
    "batch norm": lambda: nn.BatchNorm1d(4),
    "group norm": lambda: nn.GroupNorm(2, 4),
    "max pool": lambda: nn.MaxPool1d(2),
    "avg pool": lambda: nn.AvgPool1d(3, padding=1, count_include_pad=False),
    "adaptive": lambda: nn.AdaptiveAvgPool1d(4),
    "prelu": lambda: nn.PReLU(4, init=0.3),
    "upsample": lambda: nn.Upsample(scale_factor=1.5, mode="linear"),
    "several": lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2)),
    "flattened": lambda: nn.Sequential(nn.Conv1d(4, 6, 3), nn.Flatten(), nn.Linear(6 * 13, 2)),
}


@pytest.mark.parametrize("make", cases(MERGED))
def test_steps_merged_with_the_batch(make: Callable[[], nn.Module]) -> None:
    module = Forward(lambda layer, x: layer(x.flatten(0, 1)).unflatten(0, x.shape[:2]), make())
    same_as_torch(module, torch.zeros(1, 2, *SIGNAL))


UNBATCHED = {
    "avg_pool1d": (lambda: nn.AvgPool1d(3), FEATURES),
    "max_pool1d": (lambda: nn.MaxPool1d(2), FEATURES),
    "avg_pool2d": (lambda: nn.AvgPool2d(2), SEQUENCE),
    "adaptive": (lambda: nn.AdaptiveAvgPool2d((2, 3)), SEQUENCE),
}


@pytest.mark.parametrize(("make", "shape"), cases(UNBATCHED))
def test_pooling_that_takes_the_batch_for_channels(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    same_as_torch(make(), torch.zeros(1, *shape))


# --- layers that are shared ---


def elements(model: Any) -> int:
    return sum(math.prod(weight.shape) for weight in model.weights)


def test_a_layer_called_twice_is_one_layer() -> None:
    module = Forward(lambda layer, x: layer(layer(x).relu()), nn.Conv1d(4, 4, 3, padding="same"))
    model = same_as_torch(module, torch.zeros(1, *SIGNAL))
    assert elements(model) == 4 * 4 * 3 + 4


def test_a_layer_called_on_two_sizes() -> None:
    """With a stride, "same" stands for other paddings; without, one layer serves both."""
    strided = Forward(lambda layer, x: (layer(x), layer(x[:, :, :12])), nn.Conv1d(4, 5, 3, stride=2, padding=1))
    same_as_torch(strided, torch.zeros(1, *SIGNAL))
    norm = Forward(lambda layer, x: (layer(x), layer(x[:, :, :12])), nn.BatchNorm1d(4))
    same_as_torch(norm, torch.zeros(1, *SIGNAL))
    dense = Forward(lambda layer, x: layer(x).sum(1) + layer(x[:, 2]), nn.Linear(8, 3))
    same_as_torch(dense, torch.zeros(1, *SEQUENCE))


def siamese(one: nn.Module, two: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Called for y first; Keras runs its operations by their depth, whatever their order was."""
    right = one(y)
    left = one(two(two(two(x))))
    return left - right.relu()


def test_branches_that_keras_runs_in_another_order() -> None:
    module = Forward(siamese, nn.Linear(6, 6), nn.Linear(6, 6))
    pair = (torch.zeros(1, 6), torch.zeros(1, 6))
    model = to_keras(randomised(module), pair)
    batch = batch_like(pair)
    (found,), (wanted,) = outputs_of(model, batch), call(module, batch)
    assert distance(found, wanted.numpy()) <= BOUND
    report = compare(module, model, batch, BOUND)
    assert report.passed, report.verdict()
    assert [layer.path for layer in report.layers].count("layers.0") == 2


def test_a_deep_branch_called_last() -> None:
    def forward(shared: nn.Module, deep: nn.Module, x: Tensor) -> list[Tensor]:
        return [shared(deep(deep(x).relu()).relu()), shared(x), shared(deep(x))]

    same_as_torch(Forward(forward, nn.Linear(6, 6), nn.Linear(6, 6)), torch.zeros(1, 6))


def test_tied_weights() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
            self.two.weight = self.one.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x).relu())

    model = same_as_torch(Tied(), torch.zeros(1, 6))
    assert {"one", "two"} <= {layer.name for layer in model.layers}


def test_a_module_that_is_a_weight_called_twice() -> None:
    scale = Weighted(lambda x, w: x * w, (15,))
    same_as_torch(Forward(lambda layer, x: layer(layer(x).relu()), scale), torch.zeros(1, *SIGNAL))


def test_one_module_under_two_names() -> None:
    class Aliased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(6, 6)
            self.two = self.one

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x).relu())

    example = torch.zeros(1, 6)
    report = report_of(Aliased(), example)
    assert report.passed, report.verdict()
    assert report.params == (6 * 6 + 6, 6 * 6 + 6), "one layer that is called twice, as torch counts it"
    assert [layer.path for layer in report.layers if "Dense" in layer.op] == ["one", "one"]


# --- inputs and outputs ---


def nested(one: dict[str, Tensor], two: list[Tensor], scale: float = 1.0) -> dict[str, Any]:
    return {"sum": one["a"] * scale + two[0], "rest": [two[1].relu(), (one["b"],)]}


INPUTS: dict[str, tuple[Callable[..., Any], Any]] = {
    "tuple": (lambda x, y: x.mean(1) + y, (torch.zeros(1, 4, 5), torch.zeros(1, 5))),
    "dict": (lambda x, y: x.mean(1) - y, {"x": torch.zeros(1, 4, 5), "y": torch.zeros(1, 5)}),
    "one tuple": (lambda pair: pair[0] - pair[1], ((torch.zeros(1, 5), torch.zeros(1, 5)),)),
    "nested": (
        nested,
        ({"a": torch.zeros(1, 3), "b": torch.zeros(1, 4)}, [torch.zeros(1, 3), torch.zeros(1, 2, 2)]),
    ),
    "with a number": (lambda x, factor: x * factor, (torch.zeros(1, 5), 3)),
    "with nothing": (lambda x, mask: x if mask is None else x * mask, (torch.zeros(1, 5), None)),
    "with integers": (lambda x, tokens: x + tokens, (torch.zeros(1, 5), torch.zeros(1, 5, dtype=torch.int64))),
    "unread": (lambda x, unused: x * 2, (torch.zeros(1, 4), torch.zeros(1, 3))),
    "given back": (lambda x: {"same": x, "none": None, "more": x + 1}, torch.zeros(1, 4)),
    "given back alone": (lambda x: x, torch.zeros(1, 4)),
    "given back twice": (lambda x: (x, x), torch.zeros(1, 4)),
    "an output twice": (lambda x: (y := x.relu(), y), torch.zeros(1, 4)),
    "outputs of which one is inside": (lambda x: (y := x.exp(), y.sum(1), (y * 2).mean(1)), torch.zeros(1, 4)),
    "an image given back": (lambda x: (x, F.max_pool2d(x, 2)), torch.zeros(1, 3, 6, 8)),
    "a scalar": (lambda x: x.sum(1), torch.zeros(1, 4)),
    "a sample of one number": (lambda x: x * 2 + 1, torch.zeros(1)),
}


@pytest.mark.parametrize(("what", "example"), cases(INPUTS))
def test_inputs_and_outputs(what: Callable[..., Any], example: Any) -> None:
    model = same_as_torch(Forward(what), example)
    assert len(model.inputs) == len(leaves(example))


def test_keyword_arguments_in_any_order() -> None:
    class Subtract(nn.Module):
        def forward(self, first: Tensor, second: Tensor) -> Tensor:
            return first - 2 * second

    same_as_torch(Subtract(), {"second": torch.zeros(1, 4), "first": torch.zeros(1, 4)})


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.bool, torch.uint8])
def test_inputs_of_other_types(dtype: torch.dtype) -> None:
    x = torch.randint(0, 2, (3, 5)).to(dtype)
    same_as_torch(Forward(lambda x: x.float() * 0.5), x[:1], batch=x)


def test_an_embedding_of_an_input_that_is_given_back() -> None:
    x = torch.randint(0, 9, (3, 5))
    same_as_torch(Forward(lambda table, tokens: (table(tokens), tokens), nn.Embedding(9, 4)), x[:1], batch=x)


@pytest.mark.parametrize("samples", [1, 2, 5])
def test_any_number_of_samples(samples: int) -> None:
    module = nn.Sequential(nn.Conv2d(4, 3, 3), nn.Flatten(), nn.Linear(189, 2), nn.Softmax(-1))
    same_as_torch(module, torch.zeros(1, *IMAGE), batch=torch.randn(samples, *IMAGE))


# --- names and classes ---


class Named(nn.Module):
    """Paths with underscores, numbers, and names that Keras uses itself."""

    def __init__(self) -> None:
        super().__init__()
        self._stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.conv_dw = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.__dict__["_modules"]["up-2x"] = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.heads = nn.ModuleDict({"cls_1": nn.Linear(6, 5), "box": nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4))})
        self.input = nn.PReLU(6)
        self.layers = nn.ModuleList([nn.GroupNorm(2, 6)])
        self.name = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = self.get_submodule("up-2x")(self.conv_dw(self._stem(x)))
        x = self.layers[0](self.input(x)).mean((2, 3))
        return {"cls": self.name(self.heads["cls_1"](x)), "box": self.heads["box"](x)}


CLASSES = {
    "_stem.0": "Conv2D",
    "_stem.1": "BatchNormalization",
    "_stem.2": "Activation",
    "conv_dw": "DepthwiseConv2D",
    "up-2x": "Conv2DTranspose",
    "heads.cls_1": "Dense",
    "heads.box.0": "Dense",
    "heads.box.1": "LayerNormalization",
    "input": "PReLU",
    "layers.0": "GroupNormalization",
    "name": "Dense",
}


def test_layers_have_the_paths_of_modules_and_the_classes_that_keras_users_expect() -> None:
    model = same_as_torch(Named(), torch.zeros(1, 3, 12, 14))
    assert {path: type(model.get_layer(path)).__name__ for path in CLASSES} == CLASSES
    names = [layer.name for layer in model.layers]
    assert len(names) == len(set(names))


def test_a_module_named_as_the_argument() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.x(x)

    model = same_as_torch(Named(), torch.zeros(1, 4))
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", "Dense"]


class NamedAsFunction(nn.Module):
    """Its layer has the name of an operator that runs before it."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x.relu())


def test_a_layer_has_its_name_before_any_function() -> None:
    model = same_as_torch(NamedAsFunction(), torch.zeros(1, 4))
    assert type(model.get_layer("relu")).__name__ == "Dense"


KINDS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "conv1d": (lambda: nn.Conv1d(4, 5, 3), SIGNAL, "Conv1D"),
    "depthwise 1d": (lambda: nn.Conv1d(4, 4, 3, groups=4), SIGNAL, "DepthwiseConv1D"),
    "conv3d": (lambda: nn.Conv3d(2, 3, 2), VOLUME, "Conv3D"),
    "transposed 1d": (lambda: nn.ConvTranspose1d(4, 3, 2), SIGNAL, "Conv1DTranspose"),
    "rms": (lambda: nn.RMSNorm(15, eps=1e-5), SIGNAL, "RMSNormalization"),
    "instance": (lambda: nn.InstanceNorm1d(4, affine=True), SIGNAL, "GroupNormalization"),
    "max pool": (lambda: nn.MaxPool1d(2), SIGNAL, "MaxPooling1D"),
    "average pool": (lambda: nn.AvgPool2d(2), IMAGE, "AveragePooling2D"),
    "global pool": (
        lambda: nn.Sequential(nn.Conv2d(4, 3, 1), Forward(lambda x: x.mean((2, 3)))),
        IMAGE,
        "GlobalAveragePooling2D",
    ),
    "flatten": (lambda: nn.Sequential(nn.Flatten()), IMAGE, "Flatten"),
    "upsampling": (lambda: nn.Upsample(scale_factor=2), IMAGE, "UpSampling2D"),
    "zero padding": (
        lambda: nn.Sequential(nn.ZeroPad2d((0, 1, 2, 0)), nn.Conv2d(4, 3, 3, stride=2)),
        IMAGE,
        "ZeroPadding2D",
    ),
    "leaky relu": (lambda: nn.LeakyReLU(0.2), FEATURES, "LeakyReLU"),
}


@pytest.mark.parametrize(("make", "shape", "kind"), cases(KINDS))
def test_classes(make: Callable[[], nn.Module], shape: tuple[int, ...], kind: str) -> None:
    model = same_as_torch(nn.Sequential(nn.Identity(), make()), torch.zeros(1, *shape))
    assert kind in [type(layer).__name__ for layer in model.layers]


def test_padding_that_same_stands_for_needs_no_layer_of_its_own() -> None:
    def kinds(padding: Any, stride: int, size: int) -> list[str]:
        model = same_as_torch(nn.Conv1d(4, 5, 3, stride=stride, padding=padding), torch.zeros(1, 4, size))
        return [type(layer).__name__ for layer in model.layers[1:]]

    assert kinds("same", 1, 15) == kinds(1, 1, 15) == ["Conv1D"]
    assert kinds(1, 2, 15) == ["Conv1D"]  # TensorFlow pads by (1, 1) as well
    assert kinds(1, 2, 14) == ["ZeroPadding1D", "Conv1D"]  # and here by (0, 1)


# --- what Keras has no counterpart for ---


class WithState(nn.Module):
    """A recurrent layer that starts from what was learned."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 5, batch_first=True)
        self.state = nn.Parameter(torch.randn(1, 1, 5))

    def forward(self, x: Tensor) -> Tensor:
        state = self.state.expand(-1, x.shape[0], -1).contiguous()
        return self.lstm(x, (state, state * 2))[0]


REFUSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], str]] = {
    "stride and dilation": (lambda: nn.Conv2d(4, 5, 3, stride=2, dilation=2), IMAGE, "Conv 3x3"),
    "pooling with dilation": (lambda: nn.MaxPool2d(2, dilation=2), IMAGE, "MaxPool 2x2"),
    "transposed with dilation": (lambda: nn.ConvTranspose1d(4, 3, 3, dilation=2), SIGNAL, "TransposedConv 3"),
    "bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic"), IMAGE, "Resize"),
    "softplus with a low threshold": (lambda: nn.Softplus(1, 2), SIGNAL, "softplus"),
    "fft": (function(lambda x: torch.fft.rfft(x).abs()), SIGNAL, "aten.fft_rfft"),
    "sort": (function(lambda x: x.sort(-1).values), SIGNAL, "aten.sort"),
    "cumulative": (function(lambda x: x.cumsum(-1)), SIGNAL, "aten.cumsum"),
    "rounded division": (function(lambda x: torch.div(x, 2, rounding_mode="trunc")), SIGNAL, "div"),
    "across samples": (function(lambda x: x - x.mean(0)), SIGNAL, "aten.mean.dim"),
    "initial state": (
        WithState,
        SEQUENCE,
        "LSTM",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "shape", "op"), cases(REFUSED))
def test_what_has_no_counterpart_is_named_with_its_path(
    make: Callable[[], nn.Module], shape: tuple[int, ...], op: str
) -> None:
    module = nn.ModuleDict({"body": nn.Sequential(nn.Identity(), make())})
    wrapped = Forward(lambda net, x: net["body"](x), module)
    with pytest.raises(UserError, match=rf"layers\.0\.body\.1.*: {re.escape(op)}"):
        to_keras(wrapped, torch.zeros(1, *shape))


def test_no_sample_is_asked_for() -> None:
    with pytest.raises(UserError, match="example_input"):
        to_keras(nn.Linear(3, 2))


# --- files ---

SAVED: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
            nn.ConvTranspose2d(8, 4, 3, stride=2, groups=2), nn.Flatten(), nn.LazyLinear(3), nn.Softmax(-1),
        ),
        torch.zeros(1, 3, 12, 14),
    ),
    "recurrent": (lambda: nn.GRU(8, 5, 2, batch_first=True, bidirectional=True), torch.zeros(1, *SEQUENCE)),
    "cells": (function(stepped, lambda: nn.LSTMCell(8, 5)), torch.zeros(1, *SEQUENCE)),
    "attention": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu"), torch.zeros(1, *SEQUENCE)),
    "causal": (
        function(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)), torch.zeros(1, *SEQUENCE)),
    "constants": (
        lambda: Weighted(lambda x, w: torch.cat([w.expand(x.shape[0], -1, -1), x], 1), (1, 1, 8)),
        torch.zeros(1, *SEQUENCE)),
    "indices": (
        function(lambda x: F.pad(x[:, :, ::2], (2, 1, 1, 3), mode="reflect").index_select(3, torch.tensor([3, 0]))),
        torch.zeros(1, *IMAGE)),
    "resized": (lambda: nn.Upsample(scale_factor=1.7, mode="bilinear"), torch.zeros(1, *IMAGE)),
    "products": (function(lambda x: torch.linspace(-1, 1, 35).view(5, 7) @ x), torch.zeros(1, *SEQUENCE)),
    "norms": (
        lambda: nn.Sequential(nn.LayerNorm((7, 8)), nn.GroupNorm(1, 7), nn.RMSNorm(8, eps=1e-5), nn.PReLU()),
        torch.zeros(1, *SEQUENCE)),
    "several inputs": (lambda: Forward(siamese, nn.Linear(6, 6), nn.Linear(6, 6)), (torch.zeros(1, 6),) * 2),
    "named": (Named, torch.zeros(1, 3, 12, 14)),
    "dtypes": (function(lambda x: ((x > 0).logical_not(), x.argmax(1), (x * 3).int())), torch.zeros(1, *FEATURES)),
}  # fmt: skip


@pytest.mark.parametrize(("make", "example"), cases(SAVED))
def test_saved_models_compute_the_same(make: Callable[[], nn.Module], example: Any, tmp_path: Path) -> None:
    keras = load_keras()
    module = make().eval()
    with torch.no_grad():
        module(*example) if isinstance(example, tuple) else module(example)  # lazy layers
    module = randomised(module)
    model = to_keras(module, example)
    save_model(model, tmp_path / "model.keras")
    assert [path.name for path in tmp_path.iterdir()] == ["model.keras"]
    if keras.backend.backend() == "tensorflow":
        import mcubench.parity.keras_layers  # noqa: F401

        loaded = keras.saving.load_model(tmp_path / "model.keras")
    else:  # which can't load names with dots, as the documentation of save_model says
        loaded = model
    batch = batch_like(example)
    for one, other in zip(outputs_of(model, batch), outputs_of(loaded, batch), strict=True):
        np.testing.assert_array_equal(one, other)
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    assert [each.trainable for each in loaded.weights] == [each.trainable for each in model.weights]
    report = compare(module, loaded, batch, BOUND)
    assert report.passed, f"{report.verdict()}; {report.structure}"


# --- the comparison notices what is wrong ---


@pytest.mark.parametrize("path", ["_stem.0", "_stem.1", "conv_dw", "up-2x", "heads.cls_1", "heads.box.1", "input"])
def test_one_wrong_weight_is_found_where_it_is(path: str) -> None:
    module = randomised(Named())
    example = torch.zeros(1, 3, 12, 14)
    model = to_keras(module, example)
    layer = model.get_layer(path)
    weights = layer.get_weights()
    weights[0] = weights[0] * 1.001
    layer.set_weights(weights)
    report = report_of(module, example, model)
    assert not report.passed
    assert report.first_divergence is not None
    assert report.first_divergence.path == path


def test_the_module_stays_as_it_is() -> None:
    module = Named().train()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    x = torch.randn(3, 3, 12, 14)
    compare(module, to_keras(module, x[:1]), x)
    assert module.training
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert pytree.tree_leaves(module(x))[0].requires_grad
