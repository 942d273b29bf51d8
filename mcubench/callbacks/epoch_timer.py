"""Seconds per epoch and in all, kept across resumes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import lightning.pytorch as pl

from mcubench.training.averaging import is_statistics_pass

__all__ = ["EpochTimer"]


class EpochTimer(pl.Callback):
    """Measures the wall time of training epochs, without validation, and of the whole fit, with it.

    Attributes:
        epochs: Seconds of each finished epoch, in order; a resumed run continues the list.
        fit: Seconds in ``fit`` so far, those before a resume included.
    """

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.fit = 0.0
        self._epoch = 0.0  # of the epoch under way
        self._mark: float | None = None  # when the last lap ended; None while nothing is measured
        self._resumed: dict[str, Any] | None = None

    @property
    def epoch(self) -> float | None:
        """The median epoch's seconds, or ``None`` before the first has ended."""
        return statistics.median(self.epochs) if self.epochs else None

    def _lap(self) -> float:
        """Seconds since the last lap; none before training has begun, as in Lightning's sanity check."""
        if self._mark is None:
            return 0.0
        now = time.perf_counter()
        lap, self._mark = now - self._mark, now
        self.fit += lap
        return lap

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forgets a checkpoint that was loaded for something else than training."""
        self._resumed = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock, from zero or from the run that is resumed."""
        self._begin()
        self._mark = time.perf_counter()

    def _begin(self) -> None:
        state, self._resumed = self._resumed or {"epochs": [], "fit": 0.0, "epoch": 0.0}, None
        self.epochs, self.fit, self._epoch = list(state["epochs"]), state["fit"], state["epoch"]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts an epoch."""
        self._lap()
        self._epoch = 0.0

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Pauses the epoch's clock."""
        self._epoch += self._lap()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Resumes the epoch's clock."""
        self._lap()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes the epoch, if anything was trained in it."""
        self._epoch += self._lap()
        if not is_statistics_pass(trainer):
            self.epochs.append(self._epoch)
        self._epoch = 0.0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stops the clock: what is validated or tested later is not part of the fit."""
        self._lap()
        self._mark = None

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over the seconds of a resumed run that had nothing left to train."""
        if self._resumed is not None:
            self._begin()

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        if self._mark is not None:
            self._epoch += self._lap()
        return {"epochs": list(self.epochs), "fit": self.fit, "epoch": self._epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from a checkpoint when training starts."""
        self._resumed = state_dict
