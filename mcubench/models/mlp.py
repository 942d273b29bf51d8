"""The multi-layer perceptron."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.models.base import Activation, Classifier, activation_layer
from mcubench.search.space import Choice, Space

__all__ = ["MLP"]

_WIDTHS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)


class MLP(Classifier):
    """Fully connected layers; the default is the exercise's 784-42-10 net on 28 x 28 images.

    Args:
        input_shape: Shape of one sample; taken from the data when it is not given. It is flattened.
        num_classes: Number of classes; taken from the data when it is not given.
        hidden: Neurons of each hidden layer.
        activation: What follows each hidden layer.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    @classmethod
    def search_space(cls) -> Space:
        """No hidden layer, or one or two of some width."""
        return {
            **super().search_space(),
            "hidden": Choice(([], *([width] * layers for layers in (1, 2) for width in _WIDTHS))),
        }

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        hidden: Sequence[int] = (42,),
        activation: Activation = "relu",
        **training: Any,
    ) -> None:
        super().__init__(input_shape, num_classes, **training)
        if any(width < 1 for width in hidden):
            raise UserError(f"hidden must be positive numbers of neurons, got {list(hidden)}")
        layers: list[nn.Module] = [nn.Flatten()]
        for width_in, width in itertools.pairwise([math.prod(input_shape), *hidden]):
            layers += [nn.Linear(width_in, width), activation_layer(activation)]
        last = hidden[-1] if hidden else math.prod(input_shape)
        self.layers = nn.Sequential(*layers, nn.Linear(last, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, num_classes) of x (N, *input_shape)."""
        logits: Tensor = self.layers(x)
        return logits
