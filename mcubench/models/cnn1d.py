"""The small convolutional net for signals."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Activation, Classifier, activation_layer
from mcubench.search.space import Choice, Space

__all__ = ["CNN1d"]

_WIDTHS = (4, 6, 8, 12, 16, 24, 32)


class CNN1d(Classifier):
    """Convolutions over time, each halving it, then the mean over time and a linear layer.

    Each block: convolution ("same") -> max-pool 2 -> activation.

    Args:
        input_shape: Channels, samples; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        channels: Output channels of each block.
        kernel_size: Length of the convolutions, odd.
        activation: What follows each pooling.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    @classmethod
    def search_space(cls) -> Space:
        """Two to four blocks of one width, or the first one of half of it; what a convolution sees."""
        return {
            **super().search_space(),
            "channels": Choice(
                tuple(
                    [first, *[width] * (blocks - 1)]
                    for blocks in (2, 3, 4)
                    for width in _WIDTHS
                    for first in (width // 2, width)
                )
            ),
            "kernel_size": Choice((3, 5, 7, 9)),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (16, 32, 32),
        kernel_size: int = 5,
        activation: Activation = "relu",
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **training)
        if len(input_shape) != 2 or input_shape[1] >> len(channels) == 0:
            raise UserError(
                f"CNN1d with {len(channels)} blocks needs signals of shape (channels, samples), at least "
                f"{1 << len(channels)} samples; got {tuple(input_shape)}. For images use CNN or DSCNN, for features "
                "MLP."
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"kernel_size must be odd, got {kernel_size}")
        if not channels or min(channels) < 1:
            raise UserError(f"channels must be positive numbers, got {list(channels)}")
        blocks: list[nn.Module] = []
        for channels_in, channels_out in itertools.pairwise([input_shape[0], *channels]):
            blocks += [
                nn.Conv1d(channels_in, channels_out, kernel_size, padding=kernel_size // 2),
                nn.MaxPool1d(2),
                activation_layer(activation),
            ]
        self.layers = nn.Sequential(
            *blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels[-1], num_classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, channels, samples)."""
        logits: Tensor = self.layers(x)
        return logits
