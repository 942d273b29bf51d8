"""The small convolutional net for images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Activation, Classifier, activation_layer
from mcubench.search.space import Space, Whole

__all__ = ["CNN"]


class CNN(Classifier):
    """One convolution, max-pooling and a linear layer: the exercise's PyTorch net, with a ReLU.

    convolution 3 x 3 ("same") -> max-pool 2 -> activation -> flatten -> linear. On 28 x 28 images the linear layer
    has 32 * 14 * 14 = 6272 inputs (the exercise prints 4732, which does not fit its own layers). The exercise's net
    has no activation: ``activation: null``. Pooling before the activation gives the same values with a quarter of
    the work.

    Args:
        input_shape: Channels, height, width; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        channels: Output channels of the convolution.
        activation: What follows the pooling; ``null`` for none.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    channels_last = True

    @classmethod
    def search_space(cls) -> Space:
        """The width of its one convolution."""
        return {
            **super().search_space(),
            "channels": Whole(1, 32, log=True),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        channels: int = 32,
        activation: Activation | None = "relu",
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **training)
        if len(input_shape) != 3 or min(input_shape[1:]) < 2:
            raise UserError(
                f"CNN needs images of shape (channels, height, width), at least 2 x 2; got {tuple(input_shape)}. "
                "For signals of shape (channels, samples) use CNN1d or DSCNN."
            )
        if channels < 1:
            raise UserError(f"channels must be at least 1, got {channels}")
        height, width = input_shape[1] // 2, input_shape[2] // 2
        self.layers = nn.Sequential(
            nn.Conv2d(input_shape[0], channels, kernel_size=3, padding=1),
            nn.MaxPool2d(2),
            activation_layer(activation),
            nn.Flatten(),
            nn.Linear(channels * height * width, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, channels, height, width)."""
        logits: Tensor = self.layers(x)
        return logits
