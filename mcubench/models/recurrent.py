"""What recurrent nets have in common: all but the layer that steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Activation, Classifier, activation_layer
from mcubench.search.space import Choice, Space, Whole

__all__ = ["RecurrentClassifier"]

Summary = Literal["last", "mean"]


class RecurrentClassifier(Classifier):
    """Recurrent layers over the samples of a signal or the rows of an image, then a linear layer.

    A step reads all channels of one sample, or all pixels of one row. A convolution in front, if there is one, reads
    several of them and leaves fewer steps; it is followed by an activation.

    Args:
        input_shape: Channels, samples, or channels, height, width; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        hidden: Size of the hidden state, in each direction.
        layers: Number of recurrent layers, one behind the other.
        bidirectional: Whether each layer also runs from the last step to the first.
        summary: What the linear layer sees: ``last``, the last layer's state behind its last step (backwards, that is
            the first one), or ``mean``, the mean of its states over all steps.
        conv_channels: Output channels of the convolution in front; not set, there is none.
        kernel_size: Steps that the convolution reads, odd.
        stride: Steps from one of its positions to the next.
        activation: What follows it.
        learning_rate: As `Classifier` takes it.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    layer: ClassVar[type[nn.GRU | nn.LSTM]]

    @classmethod
    def search_space(cls) -> Space:
        """Its state, what the linear layer sees, and the convolution in front."""
        return {
            **super().search_space(),
            "hidden": Whole(4, 64, log=True),
            "summary": Choice(("last", "mean")),
            "conv_channels": Choice((None, 4, 8, 16)),
            "kernel_size": Choice((3, 5, 9)),
            "stride": Choice((2, 4)),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        hidden: int = 32,
        layers: int = 1,
        bidirectional: bool = False,
        summary: Summary = "last",
        conv_channels: int | None = None,
        kernel_size: int = 5,
        stride: int = 2,
        activation: Activation = "relu",
        learning_rate: float = 1e-2,
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, learning_rate=learning_rate, **training)
        name = type(self).__name__
        if len(input_shape) not in (2, 3):
            raise UserError(
                f"{name} needs signals of shape (channels, samples) or images of shape (channels, height, width); got "
                f"{tuple(input_shape)}. For features use MLP."
            )
        if hidden < 1 or layers < 1:
            raise UserError(f"hidden and layers must be at least 1, got {hidden} and {layers}")
        if summary not in get_args(Summary):
            raise UserError(f"summary must be one of {', '.join(get_args(Summary))}; got {summary!r}")
        channels, _, *width = input_shape
        features = channels * width[0] if width else channels
        self.front: nn.Sequential | None = None
        if conv_channels is not None:
            if conv_channels < 1 or stride < 1:
                raise UserError(f"conv_channels and stride must be at least 1, got {conv_channels} and {stride}")
            if kernel_size < 1 or kernel_size % 2 == 0:
                raise UserError(f"kernel_size must be odd, got {kernel_size}")
            convolution = nn.Conv1d(features, conv_channels, kernel_size, stride, padding=kernel_size // 2)
            self.front = nn.Sequential(convolution, activation_layer(activation))
            features = conv_channels
        self.summary = summary
        self.directions = 2 if bidirectional else 1
        self.recurrent = type(self).layer(features, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(hidden * self.directions, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, *input_shape)."""
        steps = x.transpose(1, 2)
        if steps.ndim == 4:
            steps = steps.flatten(2)  # a row's pixels, channel by channel
        if self.front is not None:
            steps = self.front(steps.transpose(1, 2)).transpose(1, 2)
        sequence, state = self.recurrent(steps)
        logits: Tensor = self.head(sequence.mean(1) if self.summary == "mean" else self._last(state))
        return logits

    def _last(self, state: Any) -> Tensor:
        """The last layer's hidden state, of all layers' (layers * directions, N, hidden); an LSTM has cells beside."""
        hidden: Tensor = state[0] if isinstance(state, tuple) else state
        return hidden[-1] if self.directions == 1 else torch.cat([hidden[-2], hidden[-1]], -1)
