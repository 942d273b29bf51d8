"""The depthwise-separable net, for images and signals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Classifier

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
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    channels_last = True

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: int = 32,
        blocks: int = 3,
        dropout: float = 0.1,
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
        if not 0 <= dropout < 1:
            raise UserError(f"dropout must be in [0, 1), got {dropout}")
        two_d = len(input_shape) == 3
        conv: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d if two_d else nn.Conv1d
        norm: type[nn.BatchNorm1d | nn.BatchNorm2d] = nn.BatchNorm2d if two_d else nn.BatchNorm1d
        kernel = 3 if two_d else 9  # about the same number of weights, and 0.18 s at 50 Hz

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
