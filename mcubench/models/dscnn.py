"""The depthwise-separable net, for images and signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Classifier
from mcubench.search.space import Choice, Space, Whole

__all__ = ["DSCNN"]


class DSCNN(Classifier):
    """Depthwise-separable convolutions with batch norm: a few thousand parameters, more accurate than `CNN`.

    The shape of Zhang et al.'s DS-CNN ("Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128): a
    strided convolution, then blocks of a depthwise and a pointwise convolution, each with batch norm and ReLU, then
    the mean over all positions, dropout and a linear layer. One- or two-dimensional as the input is.

    Args:
        input_shape: Channels, height, width, or channels, samples; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        channels: Channels of every convolution.
        blocks: Number of depthwise-separable blocks; every second one halves the resolution.
        dropout: Share of values dropped before the linear layer while training.
        kernel_size: Samples along each axis that a convolution sees; not set, 3 of images and 9 of signals, which is
            about the same number of weights, and 0.18 s at 50 Hz.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    channels_last = True

    @classmethod
    def search_space(cls) -> Space:
        """Width, depth, and what a convolution sees; of little regularisation, which nets of this size need least."""
        return {
            **super().search_space(),
            "channels": Whole(4, 64, log=True),
            "blocks": Whole(1, 6),
            "kernel_size": Choice((3, 5, 7, 9)),
            "dropout": Choice((0.0, 0.1)),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: int = 32,
        blocks: int = 3,
        dropout: float = 0.1,
        kernel_size: int | None = None,
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **training)
        if len(input_shape) not in (2, 3):
            raise UserError(
                "DSCNN needs images of shape (channels, height, width) or signals of shape (channels, samples); got "
                f"{tuple(input_shape)}"
            )
        if channels < 1 or blocks < 1:
            raise UserError(f"channels and blocks must be at least 1, got {channels} and {blocks}")
        if kernel_size is not None and (kernel_size < 1 or kernel_size % 2 == 0):
            raise UserError(f"kernel_size must be odd and positive, got {kernel_size}")
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be in [0, 1), got {dropout}")
        two_d = len(input_shape) == 3
        conv: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d if two_d else nn.Conv1d
        norm: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d if two_d else nn.BatchNorm1d
        kernel = kernel_size or (3 if two_d else 9)

        def normalised(convolution: nn.Module) -> list[nn.Module]:
            return [convolution, norm(channels), nn.ReLU()]

        padding = kernel // 2
        layers = normalised(conv(input_shape[0], channels, kernel, stride=2, padding=padding, bias=False))
        for block in range(blocks):
            stride = 1 + block % 2
            layers += normalised(
                conv(channels, channels, kernel, stride=stride, padding=padding, groups=channels, bias=False)
            )
            layers += normalised(conv(channels, channels, 1, bias=False))
        pool = nn.AdaptiveAvgPool2d(1) if two_d else nn.AdaptiveAvgPool1d(1)
        self.layers = nn.Sequential(*layers, pool, nn.Flatten(), nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, *input_shape)."""
        logits: Tensor = self.layers(x)
        return logits
