"""Random architectures and the reference nets: traced and deployed, they compute what torch computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given, note, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcubench.graph import deploy, trace
from tests import reference_nets
from tests.graph.compare import batch_like, call, distance, kinds, randomised, run

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d}
NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}
MAXIMA = {1: nn.MaxPool1d, 2: nn.MaxPool2d}
AVERAGES = {1: nn.AvgPool1d, 2: nn.AvgPool2d}
ADAPTIVE = {1: nn.AdaptiveAvgPool1d, 2: nn.AdaptiveAvgPool2d}
ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Tanh, nn.GELU, nn.Hardswish, nn.LeakyReLU
)  # fmt: skip
# Those of the integer graph that are kernels of their own, tables, and saturation.
INT8_ACTIVATIONS: tuple[Callable[[], nn.Module], ...] = (
    *ACTIVATIONS, nn.SiLU, nn.Hardsigmoid, nn.Mish, nn.ELU, nn.Softplus, nn.PReLU, lambda: nn.Hardtanh(-0.5, 2.0),
)  # fmt: skip
UPSAMPLED = {1: ("nearest", "linear"), 2: ("nearest", "bilinear")}


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Doubled(nn.Module):
    """What comes in beside what a layer makes of it."""

    def __init__(self, body: nn.Module, dim: int) -> None:
        super().__init__()
        self.body = body
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], self.dim)


class Scaled(nn.Module):
    """A weight and an offset for each channel, learned."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(channels, *(1,) * rank))
        self.shift = nn.Parameter(torch.randn(1, channels, *(1,) * rank))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale - self.shift


class Sequence(nn.Module):
    """A recurrent layer over the last axis, channels and rows as its features; its steps or the last of them."""

    def __init__(self, layer: nn.RNNBase, back: bool) -> None:
        super().__init__()
        self.layer = layer
        self.back = back

    def forward(self, x: Tensor) -> Tensor:
        steps = self.layer(x.flatten(1, -2).transpose(1, 2))[0]
        return steps.transpose(1, 2) if self.back else steps[:, -1]


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(-1)


class Along(nn.Module):
    """Elements in other places, or one axis made shorter, by what is written in forward."""

    WAYS: ClassVar[dict[str, Callable[[Tensor, int], Tensor]]] = {
        "every other": lambda x, dim: x[(slice(None),) * dim + (slice(None, None, 2),)],
        "flipped": lambda x, dim: x.flip(dim),
        "rolled": lambda x, dim: x.roll(1, dim),
        "twice": lambda x, dim: x.repeat([1 + (axis == dim) for axis in range(x.ndim)]),
        "beside itself": lambda x, dim: torch.cat([x, x], dim),
        "repeated": lambda x, dim: x.repeat_interleave(2, dim),
        "exchanged": lambda x, dim: x.transpose(1, dim),
        "largest": lambda x, dim: x.amax(dim, keepdim=True),
        "summed": lambda x, dim: x.sum(dim, keepdim=True),
        "softmax": lambda x, dim: x.softmax(dim),
        "log-softmax": lambda x, dim: x.log_softmax(dim),
        "one of them, given to all": lambda x, dim: x.select(dim, 0).unsqueeze(dim).expand_as(x),
        "squared": lambda x, dim: x * x,
        "smaller of two": lambda x, dim: torch.minimum(x, x.flip(dim)),
    }

    def __init__(self, way: str, dim: int) -> None:
        super().__init__()
        self.way, self.dim = way, dim

    def forward(self, x: Tensor) -> Tensor:
        return self.WAYS[self.way](x, self.dim)

    def extra_repr(self) -> str:
        return f"{self.way}, {self.dim}"


@st.composite
def architectures(draw: st.DrawFn, int8: bool = False) -> tuple[nn.Module, Tensor]:
    """A net of up to six parts, and an example input that it takes.

    Args:
        draw: Hypothesis'.
        int8: Leave out what has no int8 kernel whatever its options, recurrent layers, and draw from more of what has.
    """
    torch.manual_seed(draw(st.integers(0, 2**16)))
    rank = draw(st.sampled_from([1, 2]))
    size = tuple(draw(st.integers(3, 13)) for _ in range(rank))
    shape = (draw(st.integers(1, 6)), *size)
    example = torch.zeros(1, *shape)
    layers: list[nn.Module] = []
    x = example
    for _ in range(draw(st.integers(1, 6))):
        layer = draw(part(tuple(x.shape[1:]), int8))
        layers.append(layer)
        with torch.no_grad():
            x = layer.eval()(x)
        if x.ndim == 2:
            break
    layers += draw(ending(tuple(x.shape[1:]), int8))
    return randomised(nn.Sequential(*layers)), example


@st.composite
def part(draw: st.DrawFn, shape: tuple[int, ...], int8: bool) -> nn.Module:  # noqa: PLR0911, PLR0912 one for each kind
    channels, *size = shape
    rank = len(size)
    choices = [
        "convolution",
        "convolution",
        "convolution",
        "norm",
        "scale",
        "activation",
        "pool",
        "residual",
        "doubled",
    ]
    choices += [
        "adaptive",
        "transposed",
        "padding",
        "block",
        *(["shuffle", "upsample", "along"] if int8 else ["recurrent"]),
    ]
    kind = draw(st.sampled_from(choices))
    if kind == "convolution":
        return draw(convolution(shape))
    if kind == "block":
        inner = draw(convolution(shape))
        after = [NORMS[rank](inner.out_channels), draw(activation(int8))]
        window = [MAXIMA[rank](2)] if min(_shape(inner, shape)[1:]) >= 2 and draw(st.booleans()) else []
        position = draw(st.integers(0, 2))
        return nn.Sequential(inner, *after[:position], *window, *after[position:])
    if kind == "norm":
        return NORMS[rank](channels)
    if kind == "scale":
        return Scaled(channels, rank)
    if kind == "pool":
        kernel = draw(st.integers(1, min(3, *size)))
        options: dict[str, Any] = {
            "stride": draw(st.integers(1, 3)),
            "padding": draw(st.integers(0, kernel // 2)),
            "ceil_mode": draw(st.booleans()),
        }
        return draw(st.sampled_from([MAXIMA, AVERAGES]))[rank](kernel, **options)
    if kind == "residual":
        return Residual(draw(same_shape(shape)))
    if kind == "doubled":
        return Doubled(draw(same_shape(shape)), draw(st.integers(1, rank))) if channels < 12 else nn.Identity()
    if kind == "adaptive":
        most = 7 if int8 else 13  # windows of different sizes are pooled one by one, up to 49
        return ADAPTIVE[rank](tuple(draw(st.integers(1, min(each, most))) for each in size))
    if kind == "shuffle":
        return nn.ChannelShuffle(draw(st.sampled_from([each for each in (1, 2, 3, channels) if channels % each == 0])))
    if kind == "upsample":
        mode = draw(st.sampled_from(UPSAMPLED[rank])) if max(size) <= 13 else "nearest"
        return nn.Upsample(size=tuple(draw(st.integers(1, 2 * each)) for each in size), mode=mode)
    if kind == "along":
        small = channels <= 12 and max(size) <= 26  # what makes an axis longer is not drawn again and again
        ways = [each for each in Along.WAYS if small or each not in ("twice", "beside itself", "repeated")]
        return Along(draw(st.sampled_from(ways)), draw(st.integers(1, rank)))
    if kind == "transposed":
        groups = draw(st.sampled_from([each for each in (1, 2, channels) if channels % each == 0]))
        outputs = groups * draw(st.integers(1, 2))
        kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, (kernel - 1) // 2)) if int8 and min(size) > 1 else 0
        return TRANSPOSED[rank](channels, outputs, kernel, stride, padding, groups=groups)
    if kind == "padding":
        modes = {1: [nn.ZeroPad1d, nn.ReplicationPad1d], 2: [nn.ZeroPad2d, nn.ReplicationPad2d]}
        mode = draw(st.sampled_from(modes[rank]))
        least = 0 if mode in (nn.ZeroPad1d, nn.ZeroPad2d) else 1  # test_trace has nothing to replicate
        return mode(tuple(draw(st.integers(least, 2)) for _ in range(2 * rank)))
    if kind == "recurrent":
        return draw(recurrent(shape, back=True))
    return draw(activation(int8))


def _shape(layer: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    with torch.no_grad():
        return tuple(layer.eval()(torch.zeros(1, *shape)).shape[1:])


@st.composite
def activation(draw: st.DrawFn, int8: bool) -> nn.Module:
    return draw(st.sampled_from(INT8_ACTIVATIONS if int8 else ACTIVATIONS))()


@st.composite
def convolution(draw: st.DrawFn, shape: tuple[int, ...]) -> nn.Module:
    channels, *size = shape
    rank = len(size)
    groups = draw(st.sampled_from([each for each in (1, 2, 3, channels) if channels % each == 0]))
    outputs = groups * draw(st.integers(1, 2))
    bias = draw(st.booleans())
    kernel = tuple(draw(st.integers(1, min(4, each))) for each in size)
    dilation = tuple(draw(st.integers(1, 2)) if 2 * (k - 1) < n else 1 for k, n in zip(kernel, size, strict=True))
    if draw(st.booleans()):
        padding: Any = "same"
        stride = (1,) * rank
    else:
        padding = tuple(draw(st.integers(0, 2)) for _ in size)
        stride = tuple(draw(st.integers(1, 3)) for _ in size)
    return CONVOLUTIONS[rank](channels, outputs, kernel, stride, padding, dilation, groups, bias)


@st.composite
def same_shape(draw: st.DrawFn, shape: tuple[int, ...]) -> nn.Module:
    channels, rank = shape[0], len(shape) - 1
    groups = draw(st.sampled_from([1, channels]))
    inner = CONVOLUTIONS[rank](channels, channels, draw(st.integers(1, 3)), padding="same", groups=groups)
    more = draw(st.lists(st.sampled_from([lambda: NORMS[rank](channels), nn.ReLU, nn.Sigmoid]), max_size=2))
    return nn.Sequential(inner, *(make() for make in more))


@st.composite
def recurrent(draw: st.DrawFn, shape: tuple[int, ...], back: bool) -> nn.Module:
    features = shape[0] if len(shape) == 2 else shape[0] * shape[1]
    kind = draw(st.sampled_from([nn.LSTM, nn.GRU]))
    return Sequence(kind(features, draw(st.integers(1, 4)), batch_first=True, bidirectional=draw(st.booleans())), back)


@st.composite
def ending(draw: st.DrawFn, shape: tuple[int, ...], int8: bool) -> list[nn.Module]:
    """Nothing (the features are the output), or a classifier."""
    kind = draw(st.sampled_from(["none", "flatten", "mean", *([] if int8 else ["recurrent"])]))
    if kind == "none":
        return []
    if kind == "flatten":
        between: list[nn.Module] = draw(st.sampled_from([[], [nn.ReLU()], [nn.Dropout()], [nn.Softmax(1)]]))
        features = torch.zeros(shape).numel()
        return [nn.Flatten(), *between, nn.Linear(features, 3), *draw(st.sampled_from([[], [nn.BatchNorm1d(3)]]))]
    if kind == "mean":
        return [Mean(), nn.Linear(shape[0], 3), nn.Softmax(-1)]
    layer = draw(recurrent(shape, back=False))
    return [layer, nn.Linear(_shape(layer, shape)[0], 3)]


def check(module: nn.Module, example: Tensor) -> None:
    note(str(module))
    note(f"input {tuple(example.shape)}")
    batch = batch_like(example)
    wanted = call(module, batch)
    graph = trace(module, example)
    assert not graph.unknown()
    deployed = deploy(graph)
    note(str(deployed))
    assert distance(run(graph, batch), wanted) <= 1e-4
    assert distance(run(deployed, batch), wanted) <= 1e-4
    # Nothing that could be folded is left behind.
    producers = deployed.producers()
    consumers = deployed.consumers()
    for node in deployed.nodes:
        if type(node.op).__name__ == "BatchNorm" and (before := producers.get(node.inputs[0])) is not None:
            layer = type(before.op).__name__ in ("Conv", "DepthwiseConv", "TransposedConv", "Dense")
            fused = layer and before.op.activation
            assert not layer or fused or len(consumers[before.output]) > 1 or before.output in deployed.outputs


@settings(max_examples=60)
@given(architectures())
def test_random_architectures(drawn: tuple[nn.Module, Tensor]) -> None:
    check(*drawn)


PAIR = torch.zeros(1, 1, 8, 8), torch.zeros(1, 6, 32)

# The shapes are those above each net.
NETS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "ResNet8": (reference_nets.ResNet8, torch.zeros(1, 3, 32, 32)),
    "KeywordDSCNN": (reference_nets.KeywordDSCNN, torch.zeros(1, 1, 49, 10)),
    "PersonMobileNet": (reference_nets.PersonMobileNet, torch.zeros(1, 3, 96, 96)),
    "DeepAutoencoder": (reference_nets.DeepAutoencoder, torch.zeros(1, 640)),
    "SmallMobileNetV2": (reference_nets.SmallMobileNetV2, torch.zeros(1, 3, 32, 32)),
    "TinyViT": (reference_nets.TinyViT, torch.zeros(1, 3, 32, 32)),
    "TinyViTModule": (reference_nets.TinyViTModule, torch.zeros(1, 3, 32, 32)),
    "TinyViTFunction": (reference_nets.TinyViTFunction, torch.zeros(1, 3, 32, 32)),
    "TinyViTMatmul": (reference_nets.TinyViTMatmul, torch.zeros(1, 3, 32, 32)),
    "LSTMClassifier": (reference_nets.LSTMClassifier, torch.zeros(1, 9, 128)),
    "GRUClassifier": (reference_nets.GRUClassifier, torch.zeros(1, 9, 128)),
    "TCN": (reference_nets.TCN, torch.zeros(1, 9, 128)),
    "SqueezeExcitation": (reference_nets.SqueezeExcitation, torch.zeros(1, 3, 32, 32)),
    "SmallUNet": (reference_nets.SmallUNet, torch.zeros(1, 1, 32, 32)),
    "Functions": (reference_nets.Functions, torch.zeros(1, 16)),
    "TwoInputs": (reference_nets.TwoInputs, PAIR),
    "TupleInput": (reference_nets.TupleInput, (PAIR,)),
    "DictInput": (reference_nets.DictInput, ({"image": PAIR[0], "signal": PAIR[1]},)),
}

# Permutations that remain, by hand: two flattened parts are concatenated.
MOVES = {"TwoInputs": 2, "TupleInput": 2, "DictInput": 2}


def test_every_reference_net_is_here() -> None:
    blocks = {"ResidualStack", "InvertedResidual", "AttentionBlock", "CausalBlock"}
    attentions = {"ModuleAttention", "FunctionAttention", "MatmulAttention"}
    own = {
        name
        for name, value in vars(reference_nets).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == reference_nets.__name__
    }
    assert set(NETS) == own - blocks - attentions


@pytest.mark.parametrize("name", NETS)
def test_reference_nets(name: str) -> None:
    make, example = NETS[name]
    torch.manual_seed(0)
    module = randomised(make())
    batch = batch_like(example)
    wanted = call(module, batch)
    graph = trace(module, example)
    assert not graph.unknown()
    assert not graph.notes
    deployed = deploy(graph)
    assert distance(run(graph, batch), wanted) <= 1e-5
    assert distance(run(deployed, batch), wanted) <= 1e-5
    left = kinds(deployed)
    assert "BatchNorm" not in left
    assert "Pad" not in left
    assert sum(graph.parameters.values()) == sum(each.numel() for each in module.parameters())
    if "ViT" not in name:  # of which every head permutes its tokens
        assert left.count("Permute") == MOVES.get(name, 0)
