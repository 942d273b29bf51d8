"""The classic convolutional net for digits."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Activation, Classifier, activation_layer
from mcubench.search.space import Choice, Space

__all__ = ["LeNet"]

_WIDTHS = (2, 3, 4, 6, 8, 12)


class LeNet(Classifier):
    """Convolutions without padding, each followed by pooling, and a linear layer: small images, few MACs.

    The shape of LeNet-1 (LeCun et al., "Handwritten Digit Recognition with a Back-Propagation Network", NIPS 1989),
    which has channels 4 and 12, connected in part, and means and tanh where this has max-pooling and ReLU. Each block:
    convolution -> max-pool 2 -> activation.

    Args:
        input_shape: Channels, height, width; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        channels: Output channels of each block.
        kernel_size: Height and width of the convolutions.
        activation: What follows each pooling.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    channels_last = True

    @classmethod
    def search_space(cls) -> Space:
        """Two or three blocks that double in width, and what a convolution sees."""
        return {
            **super().search_space(),
            "channels": Choice(
                tuple([width * 2**block for block in range(blocks)] for blocks in (2, 3) for width in _WIDTHS)
            ),
            "kernel_size": Choice((3, 5)),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: Sequence[int] = (8, 24),
        kernel_size: int = 5,
        activation: Activation = "relu",
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **training)
        if not channels or min(channels) < 1:
            raise UserError(f"channels must be positive numbers, got {list(channels)}")
        if kernel_size < 1:
            raise UserError(f"kernel_size must be at least 1, got {kernel_size}")
        smallest = 1
        for _ in channels:
            smallest = 2 * smallest + kernel_size - 1
        if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
            raise UserError(
                f"LeNet with channels {list(channels)} and kernel_size {kernel_size} needs images of shape (channels, "
                f"height, width), at least {smallest} x {smallest}; got {tuple(input_shape)}. For smaller ones use CNN "
                "or fewer channels, for signals CNN1d."
            )
        blocks: list[nn.Module] = []
        height, width = input_shape[1:]
        for channels_in, channels_out in itertools.pairwise([input_shape[0], *channels]):
            blocks += [nn.Conv2d(channels_in, channels_out, kernel_size), nn.MaxPool2d(2), activation_layer(activation)]
            height, width = (height - kernel_size + 1) // 2, (width - kernel_size + 1) // 2
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(channels[-1] * height * width, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, channels, height, width)."""
        logits: Tensor = self.layers(x)
        return logits
