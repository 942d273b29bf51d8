"""The net of plain convolutions in stages, for images and signals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Classifier
from mcubench.search.space import Choice, Space

__all__ = ["ConvNet"]

Halving = Literal["max", "stride"]

_WIDTHS = (3, 4, 5, 6, 8, 10, 12, 16)


class ConvNet(Classifier):
    """Stages of convolutions with batch norm and ReLU, each at half the resolution, for the fewest bytes.

    On a device each output channel costs 12 bytes beside its weights (bias, multiplier, shift), so that below a few
    kilobytes few channels with whole kernels are better than the many that depthwise-separable ones need. The stages
    are followed by the mean over all positions, or by all of them, and a linear layer.

    Args:
        input_shape: Channels, height, width, or channels, samples; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        channels: Output channels of each stage.
        depth: Convolutions in a stage.
        kernel_size: Samples along each axis that a convolution sees, odd.
        halving: How a stage's first convolution halves the resolution: ``max``, it is followed by max-pooling, or
            ``stride``, it skips every second position, for a quarter of its MACs and less memory.
        residual: Whether a stage's further convolutions are added to what they are given.
        mean: Whether the linear layer sees the mean over all positions, or each of them.
        learning_rate: As `Classifier` takes it; few weights learn at a high one.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    channels_last = True

    @classmethod
    def search_space(cls) -> Space:
        """Widths that grow or stay, depth, and what a convolution sees."""
        return {
            **super().search_space(),
            "channels": Choice(
                tuple(
                    [round(width * growth**stage) for stage in range(stages)]
                    for stages in (2, 3, 4)
                    for width in _WIDTHS
                    for growth in (1.0, 1.5, 2.0)
                )
            ),
            "depth": Choice((1, 2)),
            "kernel_size": Choice((3, 5)),
            "halving": Choice(("max", "stride")),
            "mean": Choice((True, False)),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (8, 12, 16),
        depth: int = 1,
        kernel_size: int = 3,
        halving: Halving = "max",
        residual: bool = False,
        mean: bool = True,
        learning_rate: float = 2e-2,
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, learning_rate=learning_rate, **training)
        if len(input_shape) not in (2, 3):
            raise UserError(
                "ConvNet needs images of shape (channels, height, width) or signals of shape (channels, samples); got "
                f"{tuple(input_shape)}"
            )
        if not channels or min(channels) < 1 or depth < 1:
            raise UserError(f"channels and depth must be positive numbers, got {list(channels)} and {depth}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"kernel_size must be odd and positive, got {kernel_size}")
        if halving not in get_args(Halving):
            raise UserError(f"halving must be one of {', '.join(get_args(Halving))}; got {halving!r}")
        if min(input_shape[1:]) >> len(channels) == 0:
            raise UserError(
                f"{len(channels)} stages halve the resolution as often, and {tuple(input_shape)} is too small for that"
            )
        two_d = len(input_shape) == 3
        layers: list[nn.Module] = []
        size = list(input_shape[1:])
        for channels_in, channels_out in itertools.pairwise([input_shape[0], *channels]):
            layers += _stage(channels_in, channels_out, depth, kernel_size, halving, residual, two_d)
            size = [(each + (halving == "stride")) // 2 for each in size]
        if mean:
            layers.append(nn.AdaptiveAvgPool2d(1) if two_d else nn.AdaptiveAvgPool1d(1))
        positions = 1 if mean else math.prod(size)
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * positions, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, *input_shape)."""
        logits: Tensor = self.layers(x)
        return logits


class Residual(nn.Module):
    """Convolutions whose result is added to what they are given, and then an activation."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Values of the shape of x."""
        return nn.functional.relu(x + self.layers(x))


def _stage(
    channels_in: int, channels_out: int, depth: int, kernel_size: int, halving: Halving, residual: bool, two_d: bool
) -> list[nn.Module]:
    """The layers of a stage."""
    conv: type[nn.Conv2d | nn.Conv1d] = nn.Conv2d if two_d else nn.Conv1d
    norm: type[nn.BatchNorm2d | nn.BatchNorm1d] = nn.BatchNorm2d if two_d else nn.BatchNorm1d
    pool: type[nn.MaxPool2d | nn.MaxPool1d] = nn.MaxPool2d if two_d else nn.MaxPool1d

    def normalised(channels: int, stride: int = 1) -> list[nn.Module]:
        convolution = conv(channels, channels_out, kernel_size, stride, padding=kernel_size // 2, bias=False)
        return [convolution, norm(channels_out)]

    first = normalised(channels_in, stride=2 if halving == "stride" else 1)
    # Pooled before the activation: the same values for a quarter of its work.
    ends = [*first, *([pool(2)] if halving == "max" else []), nn.ReLU()]
    for _ in range(depth - 1):
        further = normalised(channels_out)
        ends += [Residual(*further)] if residual else [*further, nn.ReLU()]
    return ends
