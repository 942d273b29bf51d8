"""Models with answers counted by hand. Adding a model to mcubench.models means adding a row to `OURS`.

Every figure is the sum that was counted, never what the code under test said:

- macs: multiply-accumulates of one sample. Only convolutions, linear layers, matrix products, attention and recurrences
  have any; biases, activations, normalisation, pooling, interpolation and arithmetic on single elements have none.
- params: trainable parameters.
- flash: 8-bit weights at 1 B; for each output channel of a linear layer or convolution 8 B (multiplier and shift), and
  4 B of bias, its own or that of a folded batch norm: so 12 B a channel, or 8 B without both. A recurrent layer has
  8 B for each gate of each matrix and 4 B for each merged bias (a GRU's new gate needs both of its biases).
- ram: the highest end of a buffer of 8-bit activations, where the largest buffer is placed first, of equal ones that
  which is written last, each in the lowest gap at a multiple of 16 B. Unless a comment says more, two neighbours are
  the most that is needed at once.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mcubench.models import CNN, DSCNN, GRU, LSTM, MLP, CNN1d, ConvNet, LeNet
from tests import reference_nets as nets


@dataclass(frozen=True)
class KnownAnswer:
    """One model.

    Attributes:
        name: Unique; the test's name.
        make: Makes the module.
        sample: Shape of a sample; a list of these for several arguments, in which lists and dicts are what a module
            takes as one argument.
        macs: Multiply-accumulates.
        params: Trainable parameters.
        flash: Bytes of the weights at 8 bits.
        ram: Bytes of the activations at 8 bits.
        unused: Those of the parameters that the forward does not use.
        batch_dim: Where the batch stands in the inputs.
        tokens: The inputs are integers below this, if it is not 0.
    """

    name: str
    make: Callable[..., nn.Module]
    sample: Any
    macs: int
    params: int
    flash: int
    ram: int
    unused: int = 0
    batch_dim: int = 0
    tokens: int = 0

    def inputs(self) -> tuple[Any, ...]:
        """Positional arguments of forward: one random sample, as a batch of one."""
        return tuple(map(self._made, self.sample if isinstance(self.sample, list) else [self.sample]))

    def _made(self, sample: Any) -> Any:
        if isinstance(sample, dict):
            return {name: self._made(each) for name, each in sample.items()}
        if isinstance(sample, list):
            return tuple(map(self._made, sample))
        shape = (*sample[: self.batch_dim], 1, *sample[self.batch_dim :])
        return torch.randint(self.tokens, shape) if self.tokens else torch.randn(shape)

    def __str__(self) -> str:
        return self.name


class Wired(nn.Module):
    """A function of the input and of layers and weights; weights are given by their shapes."""

    def __init__(self, function: Callable[..., Any], *parts: nn.Module | tuple[int, ...]) -> None:
        super().__init__()
        self.function = function
        self.names = [f"part{index}" for index in range(len(parts))]
        for name, part in zip(self.names, parts, strict=True):
            setattr(self, name, nn.Parameter(torch.randn(part)) if isinstance(part, tuple) else part)

    def forward(self, x: Tensor) -> Any:
        return self.function(x, *(getattr(self, name) for name in self.names))


class ThreeInputs(nn.Module):
    """Attention of what somebody else computed."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value)


class CellLoop(nn.Module):
    """A cell, stepped by the module itself; the last hidden state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return state[0] if isinstance(state, tuple) else state


class Tower(nn.Module):
    """Layers in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(10, 10) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class TiedWeights(nn.Module):
    """A linear layer whose weight is the table of an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 8)
        self.head = nn.Linear(8, 50)
        self.head.weight = self.table.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x).mean(1))


def prepared_for_quantisation() -> nn.Module:
    """A convolution with batch norm and ReLU, and a linear layer, with fake quantisation around them."""
    from torch.ao import quantization as ao

    net = nn.Sequential(
        *(ao.QuantStub(), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10), ao.DeQuantStub()),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao is deprecated, and in use
        net.train().qconfig = ao.get_default_qat_qconfig("x86")
        return ao.prepare_qat(ao.fuse_modules_qat(net, [["1", "2", "3"]]))


def attend(need_weights: bool) -> nn.Module:
    attention = nn.MultiheadAttention(16, 4, batch_first=True)
    return Wired(lambda x, layer: layer(x, x, x, need_weights=need_weights), attention)


def two_heads(x: Tensor, body: nn.Module, one: nn.Module, two: nn.Module) -> dict[str, Tensor]:
    x = body(x).relu()
    return {"one": one(x), "two": two(x)}


def bypassed_without_permutes(x: Tensor, *layers: nn.Module) -> Tensor:
    """A block after Liu et al., "A ConvNet for the 2020s", arXiv:2201.03545."""
    depthwise, norm, wide, narrow = layers
    y = norm(depthwise(x).permute(0, 2, 3, 1))
    return x + narrow(F.gelu(wide(y))).permute(0, 3, 1, 2)


def steps_of_convolution(x: Tensor, convolution: nn.Module, lstm: nn.Module, head: nn.Module) -> Tensor:
    return head(lstm(convolution(x).transpose(1, 2))[0][:, -1])


def folded_twice(x: Tensor, convolution: nn.Module, one: nn.Module, two: nn.Module) -> Tensor:
    return two(convolution(one(convolution(x)).relu()))


# The rows of the models of mcubench.
OURS = [
    KnownAnswer(  # the exercise's net
        "mlp-784-42-10",
        functools.partial(MLP, (1, 28, 28), 10),
        (1, 28, 28),
        macs=784 * 42 + 42 * 10,
        params=(784 * 42 + 42) + (42 * 10 + 10),
        flash=(784 * 42 + 12 * 42) + (42 * 10 + 12 * 10),
        ram=784 + 42,
    ),
    KnownAnswer(
        "mlp-768-42-12",
        functools.partial(MLP, (6, 128), 12),
        (6, 128),
        macs=768 * 42 + 42 * 12,
        params=(768 * 42 + 42) + (42 * 12 + 12),
        flash=(768 * 42 + 12 * 42) + (42 * 12 + 12 * 12),
        ram=768 + 42,
    ),
    KnownAnswer(
        "mlp-561-64-32-12",
        functools.partial(MLP, (561,), 12, hidden=(64, 32)),
        (561,),
        macs=561 * 64 + 64 * 32 + 32 * 12,
        params=(561 * 64 + 64) + (64 * 32 + 32) + (32 * 12 + 12),
        flash=(561 * 64 + 12 * 64) + (64 * 32 + 12 * 32) + (32 * 12 + 12 * 12),
        ram=36 * 16 + 64,  # the input ends at 561
    ),
    KnownAnswer(
        "mlp-64-10",
        functools.partial(MLP, (1, 8, 8), 10, hidden=()),
        (1, 8, 8),
        macs=64 * 10,
        params=64 * 10 + 10,
        flash=64 * 10 + 12 * 10,
        ram=64 + 10,
    ),
    # The exercise's PyTorch net, with a ReLU; its linear layer has 32 * 14 * 14 = 6272 inputs.
    KnownAnswer(
        "cnn-28x28",
        functools.partial(CNN, (1, 28, 28), 10),
        (1, 28, 28),
        macs=28 * 28 * 9 * 32 + 6272 * 10,
        params=(32 * 9 + 32) + (6272 * 10 + 10),
        flash=(32 * 9 + 12 * 32) + (6272 * 10 + 12 * 10),
        ram=25088 + 6272,  # 28 * 28 * 32 before the pool
    ),
    KnownAnswer(  # as the exercise prints it: 225,792 + 62,720
        "cnn-28x28-without-activation",
        functools.partial(CNN, (1, 28, 28), 10, activation=None),
        (1, 28, 28),
        macs=225_792 + 62_720,
        params=(32 * 9 + 32) + (6272 * 10 + 10),
        flash=(32 * 9 + 12 * 32) + (6272 * 10 + 12 * 10),
        ram=25088 + 6272,
    ),
    KnownAnswer(
        "cnn-9x7",
        functools.partial(CNN, (3, 9, 7), 5, channels=4),
        (3, 9, 7),
        macs=9 * 7 * 27 * 4 + 4 * 4 * 3 * 5,
        params=(4 * 3 * 9 + 4) + (4 * 4 * 3 * 5 + 5),
        flash=(4 * 3 * 9 + 12 * 4) + (4 * 4 * 3 * 5 + 12 * 5),
        ram=16 * 16 + 189,  # the convolution's 252 and the input
    ),
    KnownAnswer(  # 28 -> 24 -> 12 -> 8 -> 4; the linear layer has 24 * 4 * 4 = 384 inputs
        "lenet-28x28",
        functools.partial(LeNet, (1, 28, 28), 10),
        (1, 28, 28),
        macs=24 * 24 * 25 * 8 + 8 * 8 * 200 * 24 + 384 * 10,
        params=(25 * 8 + 8) + (200 * 24 + 24) + (384 * 10 + 10),
        flash=(25 * 8 + 12 * 8) + (200 * 24 + 12 * 24) + (384 * 10 + 12 * 10),
        ram=24 * 24 * 8 + 12 * 12 * 8,
    ),
    KnownAnswer(  # as LeNet-1 counts its positions, but with all its maps connected
        "lenet-28x28-channels-4-12",
        functools.partial(LeNet, (1, 28, 28), 10, channels=(4, 12), activation="tanh"),
        (1, 28, 28),
        macs=24 * 24 * 25 * 4 + 8 * 8 * 100 * 12 + 192 * 10,
        params=(25 * 4 + 4) + (100 * 12 + 12) + (192 * 10 + 10),
        flash=(25 * 4 + 12 * 4) + (100 * 12 + 12 * 12) + (192 * 10 + 12 * 10),
        ram=24 * 24 * 4 + 28 * 28,  # the convolution and the input; pooled it has 576
    ),
    KnownAnswer(  # 13 x 10 -> 10 x 7 -> 5 x 3
        "lenet-13x10",
        functools.partial(LeNet, (3, 13, 10), 5, channels=(4,), kernel_size=4),
        (3, 13, 10),
        macs=10 * 7 * 48 * 4 + 60 * 5,
        params=(48 * 4 + 4) + (60 * 5 + 5),
        flash=(48 * 4 + 12 * 4) + (60 * 5 + 12 * 5),
        ram=25 * 16 + 280,  # the input's 390, and the convolution
    ),
    KnownAnswer(
        "cnn1d-6x128",
        functools.partial(CNN1d, (6, 128), 12),
        (6, 128),
        macs=128 * 30 * 16 + 64 * 80 * 32 + 32 * 160 * 32 + 32 * 12,
        params=(6 * 16 * 5 + 16) + (16 * 32 * 5 + 32) + (32 * 32 * 5 + 32) + (32 * 12 + 12),
        flash=(30 * 16 + 12 * 16) + (80 * 32 + 12 * 32) + (160 * 32 + 12 * 32) + (32 * 12 + 12 * 12),
        ram=2048 + 1024,  # 128 * 16, pooled to 64 * 16
    ),
    KnownAnswer(
        "cnn1d-2x9",
        functools.partial(CNN1d, (2, 9), 3, channels=(4,), kernel_size=3),
        (2, 9),
        macs=9 * 6 * 4 + 4 * 3,
        params=(2 * 4 * 3 + 4) + (4 * 3 + 3),
        flash=(2 * 4 * 3 + 12 * 4) + (4 * 3 + 12 * 3),
        ram=3 * 16 + 18,  # the convolution's 36 and the input
    ),
    # Convolution, three blocks of depthwise and pointwise, each with two numbers of batch norm a channel, linear.
    KnownAnswer(
        "dscnn-28x28",
        functools.partial(DSCNN, (1, 28, 28), 10),
        (1, 28, 28),
        macs=14 * 14 * 9 * 32 + (14 * 14 + 2 * 7 * 7) * (9 * 32 + 32 * 32) + 32 * 10,
        params=(32 * 9 + 64) + 3 * (32 * 9 + 64 + 32 * 32 + 64) + (32 * 10 + 10),
        flash=(32 * 9 + 12 * 32) + 3 * (32 * 9 + 12 * 32 + 32 * 32 + 12 * 32) + (32 * 10 + 12 * 10),
        ram=2 * 14 * 14 * 32,
    ),
    KnownAnswer(
        "dscnn-6x128",
        functools.partial(DSCNN, (6, 128), 12),
        (6, 128),
        macs=64 * 54 * 32 + (64 + 2 * 32) * (9 * 32 + 32 * 32) + 32 * 12,
        params=(6 * 32 * 9 + 64) + 3 * (32 * 9 + 64 + 32 * 32 + 64) + (32 * 12 + 12),
        flash=(6 * 32 * 9 + 12 * 32) + 3 * (32 * 9 + 12 * 32 + 32 * 32 + 12 * 32) + (32 * 12 + 12 * 12),
        ram=2 * 64 * 32,
    ),
    KnownAnswer(
        "dscnn-8x8",
        functools.partial(DSCNN, (1, 8, 8), 10, channels=8, blocks=1),
        (1, 8, 8),
        macs=16 * 9 * 8 + 16 * (9 * 8 + 8 * 8) + 8 * 10,
        params=(8 * 9 + 16) + (8 * 9 + 16 + 8 * 8 + 16) + (8 * 10 + 10),
        flash=(8 * 9 + 12 * 8) + (8 * 9 + 12 * 8 + 8 * 8 + 12 * 8) + (8 * 10 + 12 * 10),
        ram=2 * 16 * 8,
    ),
    KnownAnswer(  # the normalised convolution is pooled before ReLU: it and what pooling gives are needed at once
        "convnet-28x28",
        functools.partial(ConvNet, (1, 28, 28), 10),
        (1, 28, 28),
        macs=28 * 28 * 9 * 8 + 14 * 14 * 9 * 8 * 12 + 7 * 7 * 9 * 12 * 16 + 16 * 10,
        params=(9 * 8 + 16) + (9 * 8 * 12 + 24) + (9 * 12 * 16 + 32) + (16 * 10 + 10),
        flash=(9 * 8 + 12 * 8) + (9 * 8 * 12 + 12 * 12) + (9 * 12 * 16 + 12 * 16) + (16 * 10 + 12 * 10),
        ram=28 * 28 * 8 + 14 * 14 * 8,
    ),
    KnownAnswer(  # 32 samples of 5 channels, what is added to them, and 32 of the sum
        "convnet-6x128",
        functools.partial(
            ConvNet, (6, 128), 12, channels=(4, 5), depth=2, kernel_size=5, halving="stride", residual=True, mean=False
        ),
        (6, 128),
        macs=64 * 5 * 6 * 4 + 64 * 5 * 4 * 4 + 32 * 5 * 4 * 5 + 32 * 5 * 5 * 5 + 32 * 5 * 12,
        params=5 * (6 * 4 + 4 * 4 + 4 * 5 + 5 * 5) + 2 * (4 + 4 + 5 + 5) + (32 * 5 * 12 + 12),
        flash=5 * (6 * 4 + 4 * 4 + 4 * 5 + 5 * 5) + 12 * (4 + 4 + 5 + 5) + (32 * 5 * 12 + 12 * 12),
        ram=128 * 6 + 64 * 4,
    ),
    # Steps are samples of 6 numbers, supplied one after the other. Nobody reads the states of all steps: beside the
    # input there are the last one and that of the step.
    KnownAnswer(
        "gru-6x128",
        functools.partial(GRU, (6, 128), 12),
        (6, 128),
        macs=128 * 3 * 32 * (6 + 32) + 32 * 12,
        params=3 * 32 * (6 + 32 + 2) + (32 * 12 + 12),
        flash=3 * 32 * (6 + 32) + 4 * 4 * 32 + 2 * 3 * 8 + (32 + 12) * 12,
        ram=768 + 32 + (1 + 2) * 32,  # the state is a code and 16 bits
    ),
    KnownAnswer(  # 28 steps of a row
        "gru-28x28",
        functools.partial(GRU, (1, 28, 28), 10),
        (1, 28, 28),
        macs=28 * 3 * 32 * (28 + 32) + 32 * 10,
        params=3 * 32 * (28 + 32 + 2) + (32 * 10 + 10),
        flash=3 * 32 * (28 + 32) + 4 * 4 * 32 + 2 * 3 * 8 + (32 + 12) * 10,
        ram=784 + 32 + (1 + 2) * 32,
    ),
    KnownAnswer(  # the convolution's stride leaves 5 of 9 steps
        "gru-2x9-behind-a-convolution",
        functools.partial(GRU, (2, 9), 3, hidden=4, conv_channels=4, kernel_size=3),
        (2, 9),
        macs=5 * 6 * 4 + 5 * 3 * 4 * (4 + 4) + 4 * 3,
        params=(6 * 4 + 4) + 3 * 4 * (4 + 4 + 2) + (4 * 3 + 3),
        flash=(6 + 12) * 4 + 3 * 4 * (4 + 4) + 4 * 4 * 4 + 2 * 3 * 8 + (4 + 12) * 3,
        ram=3 * 16 + 4,  # the convolution's 20, the last state and that of the step
    ),
    KnownAnswer(
        "lstm-6x128",
        functools.partial(LSTM, (6, 128), 12),
        (6, 128),
        macs=128 * 4 * 32 * (6 + 32) + 32 * 12,
        params=4 * 32 * (6 + 32 + 2) + (32 * 12 + 12),
        flash=4 * 32 * (6 + 32) + 4 * 4 * 32 + 2 * 4 * 8 + (32 + 12) * 12,
        ram=768 + 32 + 32 * (1 + 2),
    ),
    # Rows of an image with three channels have 3 * 5 numbers. The second layer reads both directions of the first.
    KnownAnswer(
        "lstm-3x6x5-two-layers-bidirectional",
        functools.partial(LSTM, (3, 6, 5), 4, hidden=8, layers=2, bidirectional=True, summary="mean"),
        (3, 6, 5),
        macs=2 * 6 * 4 * 8 * (15 + 8) + 2 * 6 * 4 * 8 * (16 + 8) + 16 * 4,
        params=2 * 4 * 8 * (15 + 8 + 2) + 2 * 4 * 8 * (16 + 8 + 2) + (16 * 4 + 4),
        flash=2 * 4 * 8 * (15 + 8 + 4) + 2 * 4 * 8 * (16 + 8 + 4) + 2 * 2 * (2 * 4 * 8) + (16 + 12) * 4,
        ram=2 * 96 + 2 * 8 * (1 + 2),  # the states of all steps of both layers, and those of the step
    ),
]

# The nets of tests/reference_nets.py.
VIT_MACS = 16 * 192 * 32 + 2 * (17 * (32 * 96 + 32 * 32 + 2 * 32 * 64) + 2 * 17 * 17 * 32) + 32 * 10
VIT_PARAMS = (
    *((192 * 32 + 32) + 32 + 17 * 32,),
    *(2 * (2 * 64 + (32 * 96 + 96) + (32 * 32 + 32) + (32 * 64 + 64) + (64 * 32 + 32)),),
    *(64 + (32 * 10 + 10),),
)
REFERENCES = [
    KnownAnswer(
        "mlperf-tiny-resnet8",
        nets.ResNet8,
        (3, 32, 32),
        macs=1024 * 27 * 16
        + 2 * 1024 * 144 * 16
        + 256 * (144 * 32 + 288 * 32 + 16 * 32)
        + 64 * (288 * 64 + 576 * 64 + 32 * 64)
        + 64 * 10,
        params=(27 * 16 + 3 * 16)
        + 2 * (144 * 16 + 3 * 16)
        + ((144 * 32 + 3 * 32) + (288 * 32 + 3 * 32) + (16 * 32 + 32))
        + ((288 * 64 + 3 * 64) + (576 * 64 + 3 * 64) + (32 * 64 + 64))
        + (64 * 10 + 10),
        flash=(27 + 12) * 16
        + 2 * (144 + 12) * 16
        + ((144 + 12) + (288 + 12) + (16 + 12)) * 32
        + ((288 + 12) + (576 + 12) + (32 + 12)) * 64
        + (64 + 12) * 10,
        ram=3 * 1024 * 16,  # what is led around the first stack, and both sides of its second convolution
    ),
    KnownAnswer(
        "mlperf-tiny-ds-cnn",
        nets.KeywordDSCNN,
        (1, 49, 10),
        macs=125 * 40 * 64 + 4 * 125 * (9 * 64 + 64 * 64) + 64 * 12,
        params=(40 * 64 + 3 * 64) + 4 * ((9 * 64 + 3 * 64) + (64 * 64 + 3 * 64)) + (64 * 12 + 12),
        flash=(40 + 12) * 64 + 4 * ((9 + 12) * 64 + (64 + 12) * 64) + (64 + 12) * 12,
        ram=2 * 125 * 64,
    ),
    KnownAnswer(
        "mlperf-tiny-mobilenet",
        nets.PersonMobileNet,
        (3, 96, 96),
        macs=48**2 * 27 * 8
        + 48**2 * (9 * 8 + 8 * 16)
        + 24**2 * (9 * 16 + 16 * 32 + 9 * 32 + 32 * 32)
        + 12**2 * (9 * 32 + 32 * 64 + 9 * 64 + 64 * 64)
        + 6**2 * (9 * 64 + 64 * 128 + 5 * (9 * 128 + 128 * 128))
        + 3**2 * (9 * 128 + 128 * 256 + 9 * 256 + 256 * 256)
        + 256 * 2,
        params=(27 * 8 + 3 * 8)
        + (12 * 8 + (8 + 3) * 16)
        + (12 * 16 + (16 + 3) * 32)
        + (12 * 32 + (32 + 3) * 32)
        + (12 * 32 + (32 + 3) * 64)
        + (12 * 64 + (64 + 3) * 64)
        + (12 * 64 + (64 + 3) * 128)
        + 5 * (12 * 128 + (128 + 3) * 128)
        + (12 * 128 + (128 + 3) * 256)
        + (12 * 256 + (256 + 3) * 256)
        + (256 * 2 + 2),
        flash=(27 + 12) * 8
        + (21 * 8 + (8 + 12) * 16)
        + (21 * 16 + (16 + 12) * 32)
        + (21 * 32 + (32 + 12) * 32)
        + (21 * 32 + (32 + 12) * 64)
        + (21 * 64 + (64 + 12) * 64)
        + (21 * 64 + (64 + 12) * 128)
        + 5 * (21 * 128 + (128 + 12) * 128)
        + (21 * 128 + (128 + 12) * 256)
        + (21 * 256 + (256 + 12) * 256)
        + (256 + 12) * 2,
        # The depthwise convolution's 18,432 lie right behind the pointwise one's 36,864, which reads them. The first
        # convolution's, placed after them, are needed together with the input's 27,648 at 0: between these and the
        # depthwise one's there is no room for them. No plan needs less than 18,432 + 36,864.
        ram=36864 + 18432 + 18432,
    ),
    KnownAnswer(
        "mlperf-tiny-autoencoder",
        nets.DeepAutoencoder,
        (640,),
        macs=2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8,
        params=(640 + 3) * 128 + 6 * (128 + 3) * 128 + (128 + 3) * 8 + (8 + 3) * 128 + (128 * 640 + 640),
        flash=(640 + 12) * 128 + 6 * (128 + 12) * 128 + (128 + 12) * 8 + (8 + 12) * 128 + (128 + 12) * 640,
        ram=640 + 128,
    ),
    KnownAnswer(
        "mobilenet-v2",
        nets.SmallMobileNetV2,
        (3, 32, 32),
        macs=256 * 27 * 16
        + 256 * (16 * 64 + 9 * 64 + 64 * 16)
        + (256 * 16 * 64 + 64 * (9 * 64 + 64 * 24))
        + 64 * (24 * 96 + 9 * 96 + 96 * 24)
        + 64 * 24 * 64
        + 64 * 10,
        params=(27 + 2) * 16
        + ((16 + 2) * 64 + (9 + 2) * 64 + (64 + 2) * 16)
        + ((16 + 2) * 64 + (9 + 2) * 64 + (64 + 2) * 24)
        + ((24 + 2) * 96 + (9 + 2) * 96 + (96 + 2) * 24)
        + (24 + 2) * 64
        + (64 * 10 + 10),
        flash=(27 + 12) * 16
        + ((16 + 12) * 64 + (9 + 12) * 64 + (64 + 12) * 16)
        + ((16 + 12) * 64 + (9 + 12) * 64 + (64 + 12) * 24)
        + ((24 + 12) * 96 + (9 + 12) * 96 + (96 + 12) * 24)
        + (24 + 12) * 64
        + (64 + 12) * 10,
        ram=256 * 16 + 2 * 256 * 64,  # the bypass, and both sides of the first depthwise convolution
    ),
    # 16 patches of 8x8 pixels and the class token make 17 tokens of 32 features. Token and positions are constants of
    # 1 B an element, as is the gamma of a layer norm; its beta is a bias of 4 B. Queries, keys and values (17 * 96) lie
    # twice, while they are sorted by heads, beside the tokens (17 * 32) that are led around them.
    *(
        KnownAnswer(
            name,
            make,
            (3, 32, 32),
            macs=VIT_MACS,
            params=sum(VIT_PARAMS),
            flash=(192 + 12) * 32
            + 32
            + 17 * 32
            + 2 * (2 * (1 + 4) * 32 + (32 + 12) * 96 + (32 + 12) * 32 + (32 + 12) * 64 + (64 + 12) * 32)
            + (1 + 4) * 32
            + (32 + 12) * 10,
            ram=ram,
        )
        for name, make, ram in (
            # The softmax of the scores (4 * 17 * 17 = 1156) lies at 0, the scores at 1168, and at 2336 the values,
            # which are there with both. Keys or queries, there with values and scores, lie behind these, and last the
            # tokens, which are there with all of them.
            ("vit-encoder", nets.TinyViT, 2 * 1168 + 3 * 544),
            ("vit-module-attention", nets.TinyViTModule, 2 * 1168 + 3 * 544),
            ("vit-function-attention", nets.TinyViTFunction, 2 * 1168 + 3 * 544),
            ("vit-matmul-attention", nets.TinyViTMatmul, 2 * 1168 + 3 * 544),
        )
    ),
    KnownAnswer(
        "lstm-classifier",
        nets.LSTMClassifier,
        (9, 128),
        macs=128 * 4 * 32 * (9 + 32) + 32 * 6,
        params=4 * 32 * (9 + 32 + 2) + (32 * 6 + 6),
        flash=4 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 4 * 8 + (32 + 12) * 6,
        ram=128 * 32 + 128 * 9 + 32 * (1 + 2),  # sequence, transposed input, hidden state and 16-bit cell state
    ),
    KnownAnswer(
        "gru-classifier",
        nets.GRUClassifier,
        (9, 128),
        macs=128 * 3 * 16 * (9 + 16) + 128 * 3 * 24 * (16 + 24) + 2 * 128 * 3 * 24 * (24 + 24) + 2 * 24 * 6,
        params=3 * 16 * (9 + 16 + 2) + 3 * 24 * (16 + 24 + 2) + 2 * 3 * 24 * (24 + 24 + 2) + (48 * 6 + 6),
        flash=(3 * 16 * (9 + 16) + 4 * 4 * 16 + 2 * 3 * 8)
        + (3 * 24 * (16 + 24) + 4 * 4 * 24 + 2 * 3 * 8)
        + 2 * (3 * 24 * (24 + 24) + 4 * 4 * 24 + 2 * 3 * 8)
        + (48 + 12) * 6,
        ram=128 * 24 + 128 * 48 + 2 * (1 + 2) * 24,  # both sides of the two-way layer, and a state for each way
    ),
    KnownAnswer(
        "tcn",
        nets.TCN,
        (9, 128),
        macs=128 * (27 * 16 + 48 * 16 + 9 * 16) + 2 * 128 * 2 * 48 * 16 + 16 * 6,
        params=(27 * 16 + 16) + (48 * 16 + 16) + (9 * 16 + 16) + 4 * (48 * 16 + 16) + (16 * 6 + 6),
        flash=(27 + 12) * 16 + (48 + 12) * 16 + (9 + 12) * 16 + 4 * (48 + 12) * 16 + (16 + 12) * 6,
        ram=3 * 128 * 16,  # the bypass, and both sides of a second convolution
    ),
    KnownAnswer(
        "squeeze-excitation",
        nets.SqueezeExcitation,
        (3, 32, 32),
        macs=256 * 27 * 16 + 256 * 144 * 16 + (16 * 4 + 4 * 16) + 16 * 10,
        params=(27 * 16 + 16) + (144 * 16 + 16) + (16 * 4 + 4) + (4 * 16 + 16) + (16 * 10 + 10),
        flash=(27 + 12) * 16 + (144 + 12) * 16 + (16 + 12) * 4 + (4 + 12) * 16 + (16 + 12) * 10,
        ram=2 * 256 * 16 + 16 + 4,  # the bypass and what is to be weighted, while the weights are computed
    ),
    KnownAnswer(  # a transposed convolution multiplies every input position with its whole kernel
        "unet",
        nets.SmallUNet,
        (1, 32, 32),
        macs=1024 * 9 * 8
        + 256 * 72 * 16
        + 64 * 144 * 16
        + 256 * 288 * 8
        + 256 * 8 * 8 * 4
        + 1024 * 144 * 8
        + 1024 * 8 * 2,
        params=(9 * 8 + 8)
        + (72 * 16 + 16)
        + (144 * 16 + 16)
        + (288 * 8 + 8)
        + (8 * 8 * 4 + 8)
        + (144 * 8 + 8)
        + (8 * 2 + 2),
        flash=(9 + 12) * 8
        + (72 + 12) * 16
        + (144 + 12) * 16
        + (288 + 12) * 8
        + (8 * 4 + 12) * 8
        + (144 + 12) * 8
        + (8 + 12) * 2,
        ram=2 * 1024 * 8 + 1024 * 16,  # both parts of the last concatenation, and the whole
    ),
    # The shared layer multiplies twice; its weights are stored once, its biases and multipliers for each use. The last
    # product knows no output channels.
    KnownAnswer(
        "functions",
        nets.Functions,
        (16,),
        macs=16 * 24 + 2 * 24 * 24 + 24 * 12 + 12 * 5,
        params=(16 * 24 + 24) + (24 * 24 + 24) + 24 * 12 + 12 * 5,
        flash=(16 + 12) * 24 + (24 + 2 * 12) * 24 + (24 + 8) * 12 + 12 * 5,
        ram=2 * 16 + 24,  # 24 and 24
    ),
    # Inputs 64 and 192, convolved to 144 and 112, both brought from channels last to the order of flatten, and joined
    # to 256 B. The joined ones lie at 0, as the signal did; the copy of the 144 behind them at 256, the 144 themselves,
    # for which there is no room between signal and copy, at 400, and the 112, there with all of these, at 544.
    *(
        KnownAnswer(
            name,
            make,
            sample,
            macs=36 * 9 * 4 + 28 * 30 * 4 + (144 + 112) * 3,
            params=(9 * 4 + 4) + (30 * 4 + 4) + ((144 + 112) * 3 + 3),
            flash=(9 + 12) * 4 + (30 + 12) * 4 + (144 + 112 + 12) * 3,
            ram=256 + 144 + 144 + 112,
        )
        for name, make, sample in (
            ("two-inputs", nets.TwoInputs, [(1, 8, 8), (6, 32)]),
            ("tuple-input", nets.TupleInput, [[(1, 8, 8), (6, 32)]]),
            ("dict-input", nets.DictInput, [{"image": (1, 8, 8), "signal": (6, 32)}]),
        )
    ),
]

LINEAR = [
    KnownAnswer(  # the exercise's Keras net as printed: without Flatten, Dense works on the last axis of 28x28x1
        "keras-without-flatten",
        lambda: nn.Sequential(nn.Linear(1, 42), nn.ReLU(), nn.Linear(42, 10)),
        (28, 28, 1),
        macs=784 * 42 + 784 * 42 * 10,
        params=(42 + 42) + (42 * 10 + 10),
        flash=(1 + 12) * 42 + (42 + 12) * 10,
        ram=784 * 42 + 784 * 10,
    ),
    KnownAnswer(
        "linear-function",
        lambda: Wired(F.linear, (10, 16)),
        (16,),
        macs=16 * 10,
        params=16 * 10,
        flash=(16 + 8) * 10,
        ram=16 + 10,
    ),
    KnownAnswer(
        "matmul",
        lambda: Wired(lambda x, weight: x @ weight, (16, 10)),
        (12, 16),
        macs=12 * 16 * 10,
        params=16 * 10,
        flash=(16 + 8) * 10,
        ram=12 * 16 + 12 * 10,
    ),
    KnownAnswer(  # a product of matrices has no output channels that could be requantised one by one
        "matmul-weight-left",
        lambda: Wired(lambda x, weight: weight @ x, (8, 16)),
        (16, 10),
        macs=8 * 16 * 10,
        params=8 * 16,
        flash=8 * 16,
        ram=16 * 10 + 8 * 10,
    ),
    KnownAnswer(
        "matrix-vector",
        lambda: Wired(lambda x, weight, head: head(x @ weight), (8,), nn.Linear(10, 3)),
        (10, 8),
        macs=10 * 8 + 10 * 3,
        params=8 + (10 * 3 + 3),
        flash=(8 + 8) + (10 + 12) * 3,  # the vector is a layer of one output, without a bias
        ram=80 + 10,
    ),
    KnownAnswer(
        "addmm",
        lambda: Wired(lambda x, bias, weight: torch.addmm(bias, x, weight), (10,), (16, 10)),
        (16,),
        macs=16 * 10,
        params=16 * 10 + 10,
        flash=(16 + 12) * 10,
        ram=16 + 10,
    ),
    KnownAnswer(
        "einsum",
        lambda: Wired(lambda x, q, k: torch.einsum("bqd,bkd->bqk", q(x), k(x)), nn.Linear(16, 8), nn.Linear(16, 8)),
        (6, 16),
        macs=2 * 6 * 16 * 8 + 6 * 6 * 8,
        params=2 * (16 * 8 + 8),
        flash=2 * (16 + 12) * 8,
        ram=96 + 2 * 48,  # the input, and both that are computed from it
    ),
    KnownAnswer(
        "bmm",
        lambda: Wired(lambda x, q, k: torch.bmm(q(x), k(x).transpose(1, 2)), nn.Linear(16, 8), nn.Linear(16, 8)),
        (6, 16),
        macs=2 * 6 * 16 * 8 + 6 * 6 * 8,
        params=2 * (16 * 8 + 8),
        flash=2 * (16 + 12) * 8,
        ram=96 + 2 * 48,
    ),
    KnownAnswer(  # the product of the weights is computed once, ahead of time
        "low-rank-weight",
        lambda: Wired(lambda x, left, right: F.linear(x, left @ right), (12, 2), (2, 16)),
        (16,),
        macs=16 * 12,
        params=12 * 2 + 2 * 16,
        flash=(16 + 8) * 12,
        ram=16 + 12,
    ),
    KnownAnswer(  # the sum becomes the product's bias
        "bias-by-hand",
        lambda: Wired(lambda x, weight, bias: x @ weight + bias, (16, 10), (10,)),
        (16,),
        macs=16 * 10,
        params=16 * 10 + 10,
        flash=(16 + 12) * 10,
        ram=16 + 10,
    ),
    KnownAnswer(
        "einsum-experts",
        lambda: Wired(lambda x, weight: torch.einsum("bed,edh->beh", x, weight), (4, 16, 8)),
        (4, 16),
        macs=4 * 16 * 8,
        params=4 * 16 * 8,
        flash=4 * 16 * 8,
        ram=64 + 32,
    ),
    KnownAnswer(
        "weight-norm",
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(12, 8)),
        (12,),
        macs=12 * 8,
        params=12 * 8 + 8 + 8,
        flash=(12 + 12) * 8,
        ram=16 + 8,  # the input ends at 12
    ),
    KnownAnswer(
        "unused-layer",
        lambda: Wired(lambda x, layer, unused: layer(x), nn.Linear(12, 8), nn.Linear(12, 5)),
        (12,),
        macs=12 * 8,
        params=(12 * 8 + 8) + (12 * 5 + 5),
        flash=(12 + 12) * 8,
        ram=16 + 8,
        unused=12 * 5 + 5,
    ),
    KnownAnswer(
        "nested-sequential",
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(12, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, 8))), nn.ReLU(), nn.Linear(8, 3)
        ),
        (12,),
        macs=12 * 8 + 8 * 8 + 8 * 3,
        params=(12 * 8 + 8) + (8 * 8 + 8) + (8 * 3 + 3),
        flash=(12 + 12) * 8 + (8 + 12) * 8 + (8 + 12) * 3,
        ram=16 + 8,
    ),
    KnownAnswer(
        "module-list",
        Tower,
        (10,),
        macs=3 * 10 * 10,
        params=3 * (10 * 10 + 10),
        flash=3 * (10 + 12) * 10,
        ram=16 + 10,
    ),
    KnownAnswer(  # 16, and both outputs behind it
        "two-heads",
        lambda: Wired(
            two_heads,
            *(nn.Linear(12, 16), nn.Linear(16, 3), nn.Linear(16, 5)),
        ),
        (12,),
        macs=12 * 16 + 16 * 3 + 16 * 5,
        params=(12 * 16 + 16) + (16 * 3 + 3) + (16 * 5 + 5),
        flash=(12 + 12) * 16 + (16 + 12) * 3 + (16 + 12) * 5,
        ram=16 + 16 + 3,
    ),
    KnownAnswer(  # 16 at 0; the value at 16 ends at 24, so that the gate is at 32
        "gated-linear-unit",
        lambda: nn.Sequential(nn.Linear(10, 16), nn.GLU(), nn.Linear(8, 2)),
        (10,),
        macs=10 * 16 + 8 * 2,
        params=(10 * 16 + 16) + (8 * 2 + 2),
        flash=(10 + 12) * 16 + (8 + 12) * 2,
        ram=2 * 16 + 8,
    ),
    KnownAnswer(  # one table, read by rows and multiplied with
        "tied-weights",
        TiedWeights,
        (12,),
        macs=8 * 50,
        params=50 * 8 + 50,
        flash=(8 + 12) * 50,
        ram=12 * 8 + 12 * 8,
        tokens=50,
    ),
    KnownAnswer(  # tokens are 64-bit integers
        "embedding",
        lambda: Wired(lambda x, table, head: head(table(x).mean(1)), nn.Embedding(50, 8), nn.Linear(8, 4)),
        (12,),
        macs=8 * 4,
        params=50 * 8 + (8 * 4 + 4),
        flash=50 * 8 + (8 + 12) * 4,
        ram=12 * 8 + 12 * 8,
        tokens=50,
    ),
    KnownAnswer(
        "layer-norm",
        lambda: nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.Linear(16, 4)),
        (12,),
        macs=12 * 16 + 16 * 4,
        params=(12 * 16 + 16) + 2 * 16 + (16 * 4 + 4),
        flash=(12 + 12) * 16 + (1 + 4) * 16 + (16 + 12) * 4,
        ram=16 + 16,
    ),
]

CONVOLUTIONS = [
    KnownAnswer(
        "conv-without-bias",
        functools.partial(nn.Conv2d, 3, 8, 3, stride=2, bias=False),
        (3, 9, 9),
        macs=16 * 27 * 8,
        params=27 * 8,
        flash=(27 + 8) * 8,
        ram=16 * 16 + 128,  # the input's 243, and 4 * 4 * 8
    ),
    KnownAnswer(
        "conv-grouped",
        functools.partial(nn.Conv2d, 8, 16, 3, padding=1, groups=4),
        (8, 10, 10),
        macs=100 * 2 * 9 * 16,
        params=2 * 9 * 16 + 16,
        flash=(2 * 9 + 12) * 16,
        ram=800 + 1600,
    ),
    KnownAnswer(
        "conv-dilated",
        functools.partial(nn.Conv2d, 3, 8, 3, dilation=2),
        (3, 12, 12),
        macs=64 * 27 * 8,
        params=27 * 8 + 8,
        flash=(27 + 12) * 8,
        ram=432 + 512,
    ),
    KnownAnswer(
        "conv-depthwise-multiplier-2",
        functools.partial(nn.Conv2d, 4, 8, 3, padding=1, groups=4),
        (4, 9, 9),
        macs=81 * 9 * 8,
        params=9 * 8 + 8,
        flash=(9 + 12) * 8,
        ram=41 * 16 + 324,  # 81 * 8 = 648, and the input
    ),
    KnownAnswer(
        "conv-same-even-kernel",
        functools.partial(nn.Conv2d, 3, 4, (4, 3), padding="same"),
        (3, 7, 6),
        macs=42 * 36 * 4,
        params=36 * 4 + 4,
        flash=(36 + 12) * 4,
        ram=11 * 16 + 126,  # 42 * 4 = 168, and the input
    ),
    KnownAnswer(
        "conv-transposed",
        functools.partial(nn.ConvTranspose2d, 8, 4, 3, stride=2, padding=1, output_padding=1),
        (8, 5, 5),
        macs=25 * 8 * 9 * 4,
        params=8 * 9 * 4 + 4,
        flash=(8 * 9 + 12) * 4,
        ram=200 + 400,
    ),
    KnownAnswer(
        "conv-transposed-grouped",
        functools.partial(nn.ConvTranspose2d, 8, 6, 2, stride=2, groups=2),
        (8, 4, 4),
        macs=16 * 8 * 4 * 3,
        params=4 * 4 * 6 + 6,
        flash=(4 * 4 + 12) * 6,
        ram=128 + 384,
    ),
    KnownAnswer(
        "conv1d-grouped",
        functools.partial(nn.Conv1d, 4, 8, 3, padding=1, groups=2),
        (4, 20),
        macs=20 * 6 * 8,
        params=6 * 8 + 8,
        flash=(6 + 12) * 8,
        ram=80 + 160,
    ),
    KnownAnswer(
        "conv1d-dilated",
        functools.partial(nn.Conv1d, 4, 6, 3, dilation=3),
        (4, 20),
        macs=14 * 12 * 6,
        params=12 * 6 + 6,
        flash=(12 + 12) * 6,
        ram=6 * 16 + 80,  # 14 * 6 = 84, and the input
    ),
    KnownAnswer(
        "conv1d-depthwise-multiplier-2",
        functools.partial(nn.Conv1d, 4, 8, 5, groups=4),
        (4, 20),
        macs=16 * 5 * 8,
        params=5 * 8 + 8,
        flash=(5 + 12) * 8,
        ram=80 + 128,
    ),
    KnownAnswer(
        "conv1d-same-dilated",
        functools.partial(nn.Conv1d, 4, 8, 4, padding="same", dilation=2),
        (4, 20),
        macs=20 * 16 * 8,
        params=16 * 8 + 8,
        flash=(16 + 12) * 8,
        ram=80 + 160,
    ),
    KnownAnswer(
        "conv1d-transposed",
        functools.partial(nn.ConvTranspose1d, 6, 4, 4, stride=2, padding=1),
        (6, 16),
        macs=16 * 6 * 4 * 4,
        params=6 * 4 * 4 + 4,
        flash=(6 * 4 + 12) * 4,
        ram=96 + 128,
    ),
    KnownAnswer(
        "conv1d-transposed-grouped",
        functools.partial(nn.ConvTranspose1d, 6, 4, 3, stride=2, groups=2),
        (6, 16),
        macs=16 * 6 * 3 * 2,
        params=3 * 3 * 4 + 4,
        flash=(3 * 3 + 12) * 4,
        ram=9 * 16 + 96,  # (15 * 2 + 3) * 4 = 132, and the input
    ),
    KnownAnswer(
        "conv3d",
        functools.partial(nn.Conv3d, 1, 4, 3),
        (1, 6, 6, 6),
        macs=64 * 27 * 4,
        params=27 * 4 + 4,
        flash=(27 + 12) * 4,
        ram=216 + 256,
    ),
    KnownAnswer(  # not with zeros, so there is a padded copy
        "reflection-padding",
        lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(2, 4, 3)),
        (2, 6, 6),
        macs=36 * 18 * 4,
        params=18 * 4 + 4,
        flash=(18 + 12) * 4,
        ram=128 + 144,
    ),
    KnownAnswer(  # the sum is written over one of its terms
        "residual",
        lambda: Wired(lambda x, convolution: F.relu(x + convolution(x)), nn.Conv2d(4, 4, 3, padding=1)),
        (4, 8, 8),
        macs=64 * 36 * 4,
        params=36 * 4 + 4,
        flash=(36 + 12) * 4,
        ram=256 + 256,
    ),
    KnownAnswer(
        "concatenation",
        lambda: Wired(
            lambda x, one, two: torch.cat([one(x), two(x)], dim=1), nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 6, 1)
        ),
        (3, 8, 8),
        macs=64 * 27 * 4 + 64 * 3 * 6,
        params=(27 * 4 + 4) + (3 * 6 + 6),
        flash=(27 + 12) * 4 + (3 + 12) * 6,
        ram=256 + 384 + 640,  # both parts and the whole
    ),
    KnownAnswer(
        "layer-used-twice",
        lambda: Wired(lambda x, convolution: convolution(convolution(x).relu()), nn.Conv2d(4, 4, 3, padding=1)),
        (4, 8, 8),
        macs=2 * 64 * 36 * 4,
        params=36 * 4 + 4,
        flash=(36 + 2 * 12) * 4,
        ram=256 + 256,
    ),
    KnownAnswer(  # folding makes two layers of it
        "layer-used-twice-two-norms",
        lambda: Wired(folded_twice, nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.BatchNorm2d(4)),
        (4, 8, 8),
        macs=2 * 64 * 36 * 4,
        params=36 * 4 + 2 * 4 + 2 * 4,
        flash=2 * (36 + 12) * 4,
        ram=256 + 256,
    ),
    KnownAnswer(  # nothing before it to fold it into: a scale, a shift and a requantisation a channel, in place
        "batch-norm-first",
        lambda: nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)),
        (4, 8, 8),
        macs=36 * 36 * 2,
        params=2 * 4 + (36 * 2 + 2),
        flash=(1 + 12) * 4 + (36 + 12) * 2,
        ram=256 + 72,
    ),
    KnownAnswer(  # the ReLU stands between it and the convolution
        "batch-norm-after-relu",
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)),
        (3, 8, 8),
        macs=36 * 27 * 4 + 36 * 4 * 2,
        params=(27 * 4 + 4) + 2 * 4 + (4 * 2 + 2),
        flash=(27 + 12) * 4 + (1 + 12) * 4 + (4 + 12) * 2,
        ram=192 + 144,
    ),
    KnownAnswer(
        "conv-transposed-batch-norm",
        lambda: nn.Sequential(
            nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2, bias=False), nn.BatchNorm2d(6), nn.ReLU()
        ),
        (8, 4, 4),
        macs=16 * 8 * 4 * 3,
        params=4 * 4 * 6 + 2 * 6,
        flash=(4 * 4 + 12) * 6,
        ram=128 + 384,
    ),
    KnownAnswer(  # folded as a batch norm is
        "channel-scale",
        lambda: Wired(lambda x, convolution, scale: convolution(x) * scale, nn.Conv2d(3, 4, 3), (4, 1, 1)),
        (3, 8, 8),
        macs=36 * 27 * 4,
        params=(27 * 4 + 4) + 4,
        flash=(27 + 12) * 4,
        ram=192 + 144,
    ),
    KnownAnswer(
        "prelu",
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Conv2d(4, 2, 1)),
        (3, 8, 8),
        macs=36 * 27 * 4 + 36 * 4 * 2,
        params=(27 * 4 + 4) + 4 + (4 * 2 + 2),
        flash=(27 + 12) * 4 + 4 + (4 + 12) * 2,
        ram=192 + 144,
    ),
    KnownAnswer(  # with channels last, its permutations move nothing: bypass, 8 and 32 channels
        "convnext-block",
        lambda: Wired(
            bypassed_without_permutes,
            *(nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)),
        ),
        (8, 8, 8),
        macs=64 * 49 * 8 + 64 * 8 * 32 + 64 * 32 * 8,
        params=(49 * 8 + 8) + 2 * 8 + (8 * 32 + 32) + (32 * 8 + 8),
        flash=(49 + 12) * 8 + (1 + 4) * 8 + (8 + 12) * 32 + (32 + 12) * 8,
        ram=512 + 512 + 2048,
    ),
    KnownAnswer(
        "group-norm",
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 4, 1)),
        (3, 6, 6),
        macs=36 * 27 * 8 + 36 * 8 * 4,
        params=(27 * 8 + 8) + 2 * 8 + (8 * 4 + 4),
        flash=(27 + 12) * 8 + (1 + 4) * 8 + (8 + 12) * 4,
        ram=288 + 288,
    ),
    KnownAnswer(
        "interpolation",
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Upsample(scale_factor=2), nn.Conv2d(4, 1, 1)),
        (1, 8, 8),
        macs=64 * 9 * 4 + 256 * 4 * 1,
        params=(9 * 4 + 4) + (4 + 1),
        flash=(9 + 12) * 4 + (4 + 12) * 1,
        ram=256 + 1024,
    ),
    KnownAnswer(
        "prepared-for-quantisation",
        prepared_for_quantisation,
        (1, 8, 8),
        macs=64 * 9 * 8 + 128 * 10,
        params=(9 * 8 + 8 + 2 * 8) + (128 * 10 + 10),
        flash=(9 + 12) * 8 + (128 + 12) * 10,
        ram=512 + 128,
    ),
]

RECURRENT = [
    # An LSTM returns the sequence (128 * 32), the last hidden and the last cell state (32 each); while it runs it has a
    # hidden state of 8 bits and a cell state of 16.
    KnownAnswer(
        "lstm",
        functools.partial(nn.LSTM, 9, 32, batch_first=True),
        (128, 9),
        macs=128 * 4 * 32 * (9 + 32),
        params=4 * 32 * (9 + 32 + 2),
        flash=4 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 4 * 8,
        ram=1152 + 4096 + 2 * 32 + 32 * (1 + 2),
    ),
    KnownAnswer(
        "lstm-sequence-first",
        functools.partial(nn.LSTM, 9, 32),
        (128, 9),
        macs=128 * 4 * 32 * (9 + 32),
        params=4 * 32 * (9 + 32 + 2),
        flash=4 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 4 * 8,
        ram=1152 + 4096 + 2 * 32 + 32 * (1 + 2),
        batch_dim=1,
    ),
    KnownAnswer(
        "lstm-without-bias",
        functools.partial(nn.LSTM, 9, 32, bias=False, batch_first=True),
        (128, 9),
        macs=128 * 4 * 32 * (9 + 32),
        params=4 * 32 * (9 + 32),
        flash=4 * 32 * (9 + 32) + 2 * 4 * 8,
        ram=1152 + 4096 + 2 * 32 + 32 * (1 + 2),
    ),
    KnownAnswer(  # the second layer reads both directions of the first; the last states of both layers are kept
        "lstm-two-layers-bidirectional",
        functools.partial(nn.LSTM, 9, 32, num_layers=2, bidirectional=True, batch_first=True),
        (128, 9),
        macs=2 * 128 * 4 * 32 * (9 + 32) + 2 * 128 * 4 * 32 * (64 + 32),
        params=2 * 4 * 32 * (9 + 32 + 2) + 2 * 4 * 32 * (64 + 32 + 2),
        flash=2 * (4 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 4 * 8) + 2 * (4 * 32 * (64 + 32) + 4 * 4 * 32 + 2 * 4 * 8),
        ram=2 * 8192 + 2 * 32 * (1 + 2) + 4 * 64,
    ),
    KnownAnswer(
        "gru",
        functools.partial(nn.GRU, 9, 32, batch_first=True),
        (128, 9),
        macs=128 * 3 * 32 * (9 + 32),
        params=3 * 32 * (9 + 32 + 2),
        flash=3 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 3 * 8,
        ram=1152 + 4096 + 32 + (1 + 2) * 32,
    ),
    KnownAnswer(  # nobody reads the sequence: input, last state, and the state while it runs
        "gru-last-state",
        lambda: Wired(lambda x, gru, head: head(gru(x)[1][-1]), nn.GRU(9, 32, batch_first=True), nn.Linear(32, 6)),
        (128, 9),
        macs=128 * 3 * 32 * (9 + 32) + 32 * 6,
        params=3 * 32 * (9 + 32 + 2) + (32 * 6 + 6),
        flash=3 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 3 * 8 + (32 + 12) * 6,
        ram=1152 + 32 + (1 + 2) * 32,
    ),
    KnownAnswer(  # with channels last, the steps follow each other already: nothing is transposed
        "conv1d-lstm",
        lambda: Wired(
            steps_of_convolution,
            *(nn.Conv1d(9, 16, 3, padding=1), nn.LSTM(16, 32, batch_first=True), nn.Linear(32, 6)),
        ),
        (9, 128),
        macs=128 * 27 * 16 + 128 * 4 * 32 * (16 + 32) + 32 * 6,
        params=(27 * 16 + 16) + 4 * 32 * (16 + 32 + 2) + (32 * 6 + 6),
        flash=(27 + 12) * 16 + 4 * 32 * (16 + 32) + 4 * 4 * 32 + 2 * 4 * 8 + (32 + 12) * 6,
        ram=2048 + 4096 + 32 * (1 + 2),
    ),
    KnownAnswer(
        "rnn",
        functools.partial(nn.RNN, 9, 32, batch_first=True),
        (128, 9),
        macs=128 * 32 * (9 + 32),
        params=32 * (9 + 32 + 2),
        flash=32 * (9 + 32) + 4 * 32 + 2 * 8,
        ram=1152 + 4096 + 32 + 32,
    ),
    # Stepped by the module, one layer on the device: beside the input, whose 72 end at 80, the last state and those of
    # the step.
    KnownAnswer(
        "lstm-cell",
        lambda: CellLoop(nn.LSTMCell(9, 32)),
        (8, 9),
        macs=8 * 4 * 32 * (9 + 32),
        params=4 * 32 * (9 + 32 + 2),
        flash=4 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 4 * 8,
        ram=80 + 32 + 32 * (1 + 2),
    ),
    KnownAnswer(
        "gru-cell",
        lambda: CellLoop(nn.GRUCell(9, 32)),
        (8, 9),
        macs=8 * 3 * 32 * (9 + 32),
        params=3 * 32 * (9 + 32 + 2),
        flash=3 * 32 * (9 + 32) + 4 * 4 * 32 + 2 * 3 * 8,
        ram=80 + 32 + (1 + 2) * 32,
    ),
]

ATTENTION = [
    # Ten tokens of 16 features. Queries, keys and values (10 * 48) lie twice while they are sorted; as much is needed
    # for scores and softmax (4 * 10 * 10 each), and the values (10 * 16).
    *(
        KnownAnswer(
            name,
            functools.partial(attend, need_weights=need_weights),
            (10, 16),
            macs=10 * 16 * 48 + 2 * 10 * 10 * 16 + 10 * 16 * 16,
            params=(16 * 48 + 48) + (16 * 16 + 16),
            flash=(16 + 12) * 48 + (16 + 12) * 16,
            ram=480 + 480,
        )
        for name, need_weights in (("attention", False), ("attention-with-weights", True))
    ),
    # The sorted copy (960) lies at 0, what it was sorted from behind it. When queries, keys and values (320 each) are
    # written, that room is free, and it holds all three.
    *(
        KnownAnswer(
            name,
            make,
            (10, 32),
            macs=10 * 32 * 96 + 2 * 10 * 10 * 32 + 10 * 32 * 32,
            params=(32 * 96 + 96) + (32 * 32 + 32),
            flash=(32 + 12) * 96 + (32 + 12) * 32,
            ram=960 + 3 * 320,
        )
        for name, make in (("attention-function", nets.FunctionAttention), ("attention-matmul", nets.MatmulAttention))
    ),
    KnownAnswer(  # the masked half is multiplied as well
        "attention-causal",
        lambda: Wired(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True)),
        (10, 8),
        macs=2 * 10 * 10 * 8,
        params=0,
        flash=0,
        ram=2 * 7 * 16 + 80,  # scores and softmax of 100 each, and the values
    ),
    KnownAnswer(
        "attention-of-three-inputs",
        ThreeInputs,
        [(6, 8), (10, 8), (10, 4)],
        macs=6 * 10 * 8 + 6 * 10 * 4,
        params=0,
        flash=0,
        ram=80 + 64 + 48 + 40,  # keys, which are supplied turned, scores (60), queries, values
    ),
]

KNOWN_ANSWERS = [*OURS, *REFERENCES, *LINEAR, *CONVOLUTIONS, *RECURRENT, *ATTENTION]
