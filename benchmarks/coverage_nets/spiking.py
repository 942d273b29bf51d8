"""Spiking networks: leaky neurons, unrolled over a few steps."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["NETS"]

_STEPS = 4


class Spiking(nn.Module):
    """Layers with neurons behind them, the same input at every step; spikes of the last are counted.

    Args:
        layers: Each is followed by a layer of neurons.
        options: Of the neurons.
    """

    def __init__(self, layers: list[nn.Module], **options: object) -> None:
        super().__init__()
        snntorch = importlib.import_module("snntorch")
        self.layers = nn.ModuleList(layers)
        self.neurons = nn.ModuleList([snntorch.Leaky(beta=0.9, **options) for _ in layers])

    def forward(self, x: Tensor) -> Tensor:
        """Counts of spikes."""
        state = [neuron.init_leaky() for neuron in self.neurons]
        counts = []
        for _ in range(_STEPS):
            spikes = x
            for index, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                spikes, state[index] = neuron(layer(spikes), state[index])
            counts.append(spikes)
        return torch.stack(counts).sum(0)


def _dense(**options: object) -> Spiking:
    return Spiking([nn.Sequential(nn.Flatten(), nn.Linear(64, 32)), nn.Linear(32, 10)], **options)


def _convolutions() -> Spiking:
    first = nn.Sequential(nn.Conv2d(1, 6, 3), nn.MaxPool2d(2))
    return Spiking([first, nn.Sequential(nn.Flatten(), nn.Linear(54, 10))])


NETS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "Leaky, dense": ((1, 8, 8), _dense),
    "Leaky, dense, reset to zero": ((1, 8, 8), lambda: _dense(reset_mechanism="zero")),
    "Leaky, dense, no reset": ((1, 8, 8), lambda: _dense(reset_mechanism="none")),
    "Leaky, convolutions": ((1, 8, 8), _convolutions),
}
