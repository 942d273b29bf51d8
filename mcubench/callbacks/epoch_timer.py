"""Seconds per epoch and in all, kept across resumes."""

from __future__ import annotations

import statistics
import time
from typing import Any

import lightning.pytorch as pl

__all__ = ["EpochTimer"]


class EpochTimer(pl.Callback):
    """Measures the wall time of training epochs, without validation, and of the whole fit, with it.

    Attributes:
        epochs: Seconds of each finished epoch, in order; a resumed run continues the list.
        fit: Seconds in ``fit`` so far, all sessions of the run together.
    """

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.fit = 0.0
        self._mark = 0.0
        self._epoch = 0.0

    @property
    def epoch(self) -> float | None:
        """The median epoch's seconds, or ``None`` before the first has ended."""
        return statistics.median(self.epochs) if self.epochs else None

    def on_train_start(self, *args: Any) -> None:
        """Starts the clock."""
        self._mark = time.perf_counter()

    def _lap(self) -> float:
        now = time.perf_counter()
        lap, self._mark = now - self._mark, now
        self.fit += lap
        return lap

    def on_train_epoch_start(self, *args: Any) -> None:
        """Starts an epoch."""
        self._lap()
        self._epoch = 0.0

    def on_validation_start(self, *args: Any) -> None:
        """Pauses the epoch's clock."""
        self._epoch += self._lap()

    def on_validation_end(self, *args: Any) -> None:
        """Resumes the epoch's clock."""
        self._lap()

    def on_train_epoch_end(self, *args: Any) -> None:
        """Notes the epoch."""
        self._epoch += self._lap()
        self.epochs.append(self._epoch)

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        return {"epochs": list(self.epochs), "fit": self.fit}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continues from a checkpoint."""
        self.epochs, self.fit = list(state_dict["epochs"]), state_dict["fit"]
