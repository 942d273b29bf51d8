"""Training on signals of motion sensors as they might also have been recorded."""

from __future__ import annotations

import math

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from mcubench.augmentation import random_rotations, rotated, signal_at, smooth_curves, warped_times
from mcubench.callbacks.amounts import checked_amounts
from mcubench.callbacks.batches import BatchCallback
from mcubench.errors import UserError

__all__ = ["SignalAugmentation"]

_AXES = 3


class SignalAugmentation(BatchCallback):
    """Turns, bends, stretches and disturbs the signals of each training batch, each window by a draw of its own.

    It works with any module whose batches begin with signals, shape (N, channels, samples), and costs a device
    nothing. What is not given stays as it is. Methods are those of Um et al. (arXiv:1706.00527).

    Args:
        rotate: The device is held otherwise: turned by at most so many degrees, about any axis. Channels are x, y, z of
            one sensor after another, and are turned in the sensor's units where the data module has scaled them.
        magnitude: Movements are stronger and weaker over time: standard deviation of a smooth factor of mean 1, for
            each channel.
        time_warp: They are faster and slower: standard deviation of a smooth speed of mean 1.
        jitter: Noise of the sensor: its standard deviation, in units of the inputs.
        knots: Points between which factor and speed are smooth; more make them change faster.
        seed: Seed of all draws; not set, it follows ``--seed_everything``.

    Raises:
        UserError: If an amount is out of range, all are 0, batches have no signals, or channels to rotate are no
            sensors of three axes.
    """

    def __init__(
        self,
        rotate: float = 0.0,
        magnitude: float = 0.0,
        time_warp: float = 0.0,
        jitter: float = 0.0,
        knots: int = 4,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        amounts = {"rotate": rotate, "magnitude": magnitude, "time_warp": time_warp, "jitter": jitter}
        checked_amounts(self, amounts, most={"rotate": 180})
        if knots < 2:
            raise UserError(f"knots must be at least 2, got {knots}")
        self.rotate, self.magnitude, self.time_warp, self.jitter, self.knots = (*amounts.values(), knots)
        self._mean = self._std = torch.zeros(0)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the seed, and how the data module has scaled each channel."""
        from mcubench.datamodules import TensorDataModule

        super().on_train_start(trainer, pl_module)
        data = getattr(trainer, "datamodule", None)
        scaling = (data.describe()["inputs"]["scaling"] if isinstance(data, TensorDataModule) else None) or {}
        self._mean, self._std = (torch.tensor(scaling.get(name, ())) for name in ("mean", "std"))

    def changed(self, x: Tensor, y: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Signals that are changed, with their classes."""
        if x.ndim != 3:
            raise UserError(
                "SignalAugmentation is for batches of signals, shape (N, channels, samples); these are "
                f"{tuple(x.shape)}"
            )
        samples, channels, length = x.shape

        def drawn(*shape: int) -> Tensor:
            return torch.from_numpy(random.standard_normal((samples, *shape), np.float32)).to(x)

        if self.rotate:
            x = self._turned(x, random)
        if self.time_warp:
            speed = 1 + self.time_warp * smooth_curves(drawn(self.knots), length)
            x = signal_at(x, warped_times(speed))
        if self.magnitude:
            x = x * (1 + self.magnitude * smooth_curves(drawn(channels, self.knots), length))
        if self.jitter:
            x = x + self.jitter * drawn(channels, length)
        return x, y

    def _turned(self, x: Tensor, random: np.random.Generator) -> Tensor:
        samples, channels, _ = x.shape
        if channels % _AXES:
            raise UserError(
                f"rotate turns sensors of three axes, x, y and z after one another; {channels} channels are no such "
                "sensors: leave it out"
            )
        most = math.radians(self.rotate)
        rotations = random_rotations(random.standard_normal((samples, _AXES)), random.uniform(0, most, samples))
        scaled = len(self._mean) == channels
        mean = self._mean.to(x) if scaled else x.new_zeros(channels)
        std = self._std.to(x) if scaled else x.new_ones(channels)
        return rotated(x, torch.from_numpy(rotations).to(x), mean, std)
