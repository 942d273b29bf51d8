"""A research model as a subclass: an __init__ and a forward, and it runs like the built-in ones.

python -m mcubench fit --model examples.own_classifier.GatedNet --data Digits --model.width 24
"""

from collections.abc import Sequence
from typing import Any

from mcubench.models import Classifier

import torch  # isort: skip
from torch import Tensor, nn  # isort: skip


class GatedNet(Classifier):
    """Half of the hidden neurons gate the other half.

    Args:
        input_shape: Shape of one sample.
        num_classes: Number of classes.
        width: Gated neurons.
        **training: Optimiser, schedule and class weights, as `Classifier` takes them.
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, width: int = 32, **training: Any) -> None:
        super().__init__(input_shape, num_classes, **training)
        self.hidden = nn.Linear(self.example_input_array.numel(), 2 * width)
        self.output = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.hidden(x.flatten(1)).chunk(2, dim=1)
        return self.output(value * torch.sigmoid(gate))
