"""Small networks for sensors and images, written here after the papers that describe them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

__all__ = ["NETS"]


class Residual(nn.Module):
    """x + f(x), perhaps with a layer on x, and what follows."""

    def __init__(self, body: nn.Module, around: nn.Module | None = None, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.body, self.around, self.behind = body, around or nn.Identity(), behind or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The sum."""
        y: Tensor = self.behind(self.around(x) + self.body(x))
        return y


class Branches(nn.Module):
    """Several layers on one input, their results side by side."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """All channels."""
        return torch.cat([each(x) for each in self.branches], 1)


class Apply(nn.Module):
    """A function as a layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        """What it returns."""
        return self.function(x)


class Clamped(nn.Module):
    """A convolution between clamps, as accelerators with fixed-point activations have it."""

    def __init__(self, inputs: int, outputs: int, relu: bool = True) -> None:
        super().__init__()
        self.layer, self.relu = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), relu

    def forward(self, x: Tensor) -> Tensor:
        """Within -1 and 127/128."""
        y = self.layer(x).clamp(-1, 127 / 128)
        return F.relu(y) if self.relu else y


def conv1d(inputs: int, outputs: int, taps: int, **options: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    layer = nn.Conv1d(inputs, outputs, taps, padding=options.pop("padding", taps // 2), bias=False, **options)  # type: ignore[arg-type]
    return nn.Sequential(layer, nn.BatchNorm1d(outputs), nn.ReLU())


def conv2d(
    inputs: int, outputs: int, taps: int, groups: int = 1, stride: int = 1, act: nn.Module | None = None
) -> nn.Sequential:
    """Convolution, batch norm, an activation."""
    layer = nn.Conv2d(inputs, outputs, taps, stride, taps // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), act or nn.ReLU())


def head1d(channels: int) -> nn.Sequential:
    """Mean over time, classes."""
    return nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 10))


def head2d(channels: int) -> nn.Sequential:
    """Mean over positions, classes."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class SqueezeAndExcite(nn.Module):
    """Channels weighted by what all positions say."""

    def __init__(self, channels: int, gate: nn.Module) -> None:
        super().__init__()
        self.down, self.up, self.gate = nn.Linear(channels, channels // 4), nn.Linear(channels // 4, channels), gate

    def forward(self, x: Tensor) -> Tensor:
        """Gated."""
        weights: Tensor = self.gate(self.up(F.relu(self.down(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


def shuffled(groups: int) -> Apply:
    """Channels of several groups, mixed."""

    def shuffle(x: Tensor) -> Tensor:
        count, channels, height, width = x.shape
        return x.view(count, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)

    return Apply(shuffle)


def inception1d(inputs: int, each: int = 8) -> nn.Module:
    """InceptionTime's block."""
    narrow = nn.Conv1d(inputs, each, 1, bias=False)
    wide = [nn.Sequential(narrow, nn.Conv1d(each, each, taps, padding=taps // 2, bias=False)) for taps in (39, 19, 9)]
    pooled = nn.Sequential(nn.MaxPool1d(3, 1, 1), nn.Conv1d(inputs, each, 1, bias=False))
    return nn.Sequential(Branches(*wide, pooled), nn.BatchNorm1d(4 * each), nn.ReLU())


def omniscale(inputs: int) -> nn.Module:
    """A layer of the omni-scale CNN: kernels of prime sizes, more than ten of them."""
    taps = (1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31)
    return nn.Sequential(
        Branches(*(nn.Conv1d(inputs, 2, n, padding="same") for n in taps)), nn.BatchNorm1d(24), nn.ReLU()
    )


def temponet() -> nn.Module:
    """Dilated convolutions on a pulse, batch norm behind ReLU in the head."""
    blocks = [
        nn.Sequential(conv1d(i, o, 3, padding=d, dilation=d), nn.AvgPool1d(2)) for i, o, d in ((4, 16, 2), (16, 32, 4))
    ]
    head = nn.Sequential(
        nn.Flatten(), nn.Linear(512, 32), nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(0.5), nn.Linear(32, 10)
    )
    return nn.Sequential(*blocks, head)


def pre_activation(channels: int) -> nn.Module:
    """Batch norm and ReLU in front of each convolution."""
    layers = [
        nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1))
        for _ in range(2)
    ]
    return Residual(nn.Sequential(*layers))


def dense_block(inputs: int, growth: int, count: int) -> nn.Module:
    """DenseNet's: each layer adds channels to all before it."""
    layers = []
    for index in range(count):
        channels = inputs + growth * index
        new = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, growth, 3, padding=1))
        layers.append(Branches(nn.Identity(), new))
    return nn.Sequential(*layers)


class SubSpectral(nn.Module):
    """A broadcasted residual block: a mean over frequency, a convolution over time, added to all frequencies."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.frequency = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.time = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1), groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Adds both."""
        wide = self.norm(self.frequency(x))
        narrow = self.mix(F.silu(self.time(wide.mean(2, keepdim=True))))
        return F.relu(x + wide + narrow)


class Chomped(nn.Module):
    """A causal convolution: padded on both sides, and what is too much cut off."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.cut = 2 * dilation
        self.layer = nn.Conv1d(inputs, outputs, 3, padding=self.cut, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        """As long as the input."""
        return F.relu(self.layer(x)[:, :, : -self.cut])


class Autoencoder(nn.Module):
    """Convolutions down, transposed ones up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(conv2d(1, 8, 3, stride=2), conv2d(8, 16, 3, stride=2))
        self.up = nn.Sequential(
            *(nn.ConvTranspose2d(16, 8, 3, 2, 1, 1), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Sigmoid()),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The image again."""
        y: Tensor = self.up(self.down(x))
        return y


class UNet(nn.Module):
    """One step down and up, with what was before beside it."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.first, self.deep = conv2d(1, 8, 3), nn.Sequential(nn.MaxPool2d(2), conv2d(8, 16, 3))
        self.up, self.last = nn.Upsample(scale_factor=2, mode=mode), nn.Sequential(conv2d(24, 8, 3), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        """A class for each pixel."""
        wide = self.first(x)
        y: Tensor = self.last(torch.cat([self.up(self.deep(wide)), wide], 1))
        return y


IMAGE, SIGNAL, SPECTRUM = (1, 28, 28), (6, 64), (1, 40, 32)

NETS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "LeNet-5, tanh": (IMAGE, lambda: nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 84), nn.Tanh(), nn.Linear(84, 10))),
    "MNIST of PyTorch's examples": (IMAGE, lambda: nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10), nn.LogSoftmax(1))),
    "clamped layers": ((3, 16, 16), lambda: nn.Sequential(
        Clamped(3, 8), Residual(Clamped(8, 8), behind=Apply(lambda x: x.clamp(-1, 127 / 128))), nn.MaxPool2d(2),
        Clamped(8, 16), nn.AvgPool2d(2), Apply(lambda x: x.clamp(-1, 127 / 128)), Clamped(16, 8, relu=False),
        nn.Flatten(), nn.Linear(128, 10), Apply(lambda x: x.clamp(-128, 127)))),
    "FCN for time series": (SIGNAL, lambda: nn.Sequential(
        conv1d(6, 16, 7), conv1d(16, 32, 5), conv1d(32, 16, 3), head1d(16))),
    "ResNet for time series": (SIGNAL, lambda: nn.Sequential(
        Residual(nn.Sequential(conv1d(6, 16, 7), conv1d(16, 16, 5), nn.Conv1d(16, 16, 3, padding=1),
                 nn.BatchNorm1d(16)), nn.Sequential(nn.Conv1d(6, 16, 1), nn.BatchNorm1d(16)), nn.ReLU()),
        Residual(nn.Sequential(conv1d(16, 16, 7), nn.Conv1d(16, 16, 3, padding=1), nn.BatchNorm1d(16)),
                 nn.BatchNorm1d(16), nn.ReLU()), head1d(16))),
    "InceptionTime": (SIGNAL, lambda: nn.Sequential(
        Residual(nn.Sequential(inception1d(6), inception1d(32), inception1d(32)),
                 nn.Sequential(nn.Conv1d(6, 32, 1), nn.BatchNorm1d(32)), nn.ReLU()), head1d(32))),
    "omni-scale CNN": (SIGNAL, lambda: nn.Sequential(omniscale(6), omniscale(24), head1d(24))),
    "TEMPONet": ((4, 64), temponet),
    "temporal convolutions, cut": (SIGNAL, lambda: nn.Sequential(
        Chomped(6, 16, 1), Residual(Chomped(16, 16, 2)), Residual(Chomped(16, 16, 4)),
        Apply(lambda x: x[:, :, -1]), nn.Linear(16, 10))),
    "M5 on raw audio": ((1, 1024), lambda: nn.Sequential(
        conv1d(1, 16, 80, stride=4, padding=0), nn.MaxPool1d(4), conv1d(16, 16, 3), nn.MaxPool1d(4),
        conv1d(16, 32, 3), Apply(lambda x: x.mean(2)), nn.Linear(32, 10), nn.LogSoftmax(1))),
    "pre-activation ResNet": (IMAGE, lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), pre_activation(8), nn.AvgPool2d(2), pre_activation(8), nn.BatchNorm2d(8),
        nn.ReLU(), head2d(8))),
    "DenseNet, small": (IMAGE, lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), dense_block(8, 4, 4), nn.BatchNorm2d(24), nn.ReLU(), nn.Conv2d(24, 12, 1),
        nn.AvgPool2d(2), dense_block(12, 4, 3), head2d(24))),
    "MobileNet v1, 0.1": ((3, 32, 32), lambda: nn.Sequential(
        conv2d(3, 8, 3, stride=2), conv2d(8, 8, 3, 8), conv2d(8, 16, 1), conv2d(16, 16, 3, 16, 2), conv2d(16, 32, 1),
        head2d(32))),
    "MobileNet v3, blocks": ((3, 32, 32), lambda: nn.Sequential(
        conv2d(3, 16, 3, stride=2, act=nn.Hardswish()), conv2d(16, 16, 3, 16, act=nn.Hardswish()),
        SqueezeAndExcite(16, nn.Hardsigmoid()), nn.Conv2d(16, 24, 1), nn.BatchNorm2d(24), head2d(24))),
    "EfficientNet, blocks": ((3, 32, 32), lambda: nn.Sequential(
        conv2d(3, 16, 3, stride=2, act=nn.SiLU()), conv2d(16, 16, 3, 16, act=nn.SiLU()),
        SqueezeAndExcite(16, nn.Sigmoid()), nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), head2d(16))),
    "ShuffleNet, blocks": ((3, 32, 32), lambda: nn.Sequential(
        conv2d(3, 16, 3, stride=2), Residual(nn.Sequential(conv2d(16, 16, 1, 4), shuffled(4), conv2d(16, 16, 3, 16),
        conv2d(16, 16, 1, 4))), head2d(16))),
    "BC-ResNet, blocks": (SPECTRUM, lambda: nn.Sequential(
        conv2d(1, 8, 5, stride=2), SubSpectral(8), SubSpectral(8), nn.AvgPool2d(2), head2d(8))),
    "DS-CNN for keywords": ((1, 49, 10), lambda: nn.Sequential(
        nn.Conv2d(1, 16, (10, 4), 2, (4, 1)), nn.BatchNorm2d(16), nn.ReLU(), conv2d(16, 16, 3, 16), conv2d(16, 16, 1),
        conv2d(16, 16, 3, 16), conv2d(16, 16, 1), head2d(16))),
    "squeeze net, fire": ((3, 32, 32), lambda: nn.Sequential(
        conv2d(3, 16, 3, stride=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(16, 8, 1), nn.ReLU(),
        Branches(nn.Conv2d(8, 16, 1), nn.Conv2d(8, 16, 3, padding=1)), nn.ReLU(), nn.Conv2d(32, 10, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    "RepVGG, as it is trained": ((3, 16, 16), lambda: nn.Sequential(
        conv2d(3, 8, 3), Residual(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)), nn.BatchNorm2d(8),
        nn.ReLU()), head2d(8))),
    "autoencoder": (IMAGE, Autoencoder),
    "autoencoder for sounds of machines": ((640,), lambda: nn.Sequential(
        nn.Linear(640, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(),
        nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 640))),
    "U-Net, nearest": (IMAGE, lambda: UNet("nearest")),
    "U-Net, bilinear": (IMAGE, lambda: UNet("bilinear")),
    "MLP on scaled features": ((24,), lambda: nn.Sequential(
        nn.BatchNorm1d(24), nn.Linear(24, 32), nn.SELU(), nn.AlphaDropout(0.1), nn.Linear(32, 10))),
    "gated linear units": (SIGNAL, lambda: nn.Sequential(
        nn.Conv1d(6, 32, 5, padding=2), nn.GLU(1), nn.Conv1d(16, 16, 3, padding=1), nn.GLU(1), head1d(8))),
    "mish and PReLU": (IMAGE, lambda: nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.PReLU(8), nn.Conv2d(8, 16, 3, 2), nn.Mish(), nn.Conv2d(16, 16, 3), nn.ELU(),
        head2d(16))),
    "GELU, without layer norm": (IMAGE, lambda: nn.Sequential(
        nn.Conv2d(1, 8, 4, 4), nn.GELU(), nn.BatchNorm2d(8),
        Residual(nn.Sequential(nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.GELU(), nn.BatchNorm2d(8))), head2d(8))),
    "maxima over time": (SIGNAL, lambda: nn.Sequential(
        nn.Conv1d(6, 16, 5), nn.ReLU(), Apply(lambda x: x.max(2).values), nn.Linear(16, 10))),
    "sums over time": (SIGNAL, lambda: nn.Sequential(
        nn.Conv1d(6, 16, 5), nn.ReLU(), Apply(lambda x: x.sum(2)), nn.Linear(16, 10))),
    "reflected borders": (IMAGE, lambda: nn.Sequential(
        nn.ReflectionPad2d(1), nn.Conv2d(1, 8, 3, 2), nn.LeakyReLU(0.1), nn.ReplicationPad2d(1), nn.Conv2d(8, 8, 3, 2),
        nn.ReLU(), head2d(8))),
}  # fmt: skip
