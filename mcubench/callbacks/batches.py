"""What callbacks share that change the batches of a training."""

from __future__ import annotations

import zlib
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from mcubench.errors import UserError

__all__ = ["BatchCallback"]


class BatchCallback(pl.Callback):
    """Gives training steps other batches than the loader gives: for any module, on the module's device.

    A subclass implements `changed`. Several change a batch one after another, in the order of the trainer's callbacks.
    Validation and test see what the loaders give. Draws depend on nothing but seed, epoch, batch and process, so that a
    fit that goes on draws what it would have drawn, and nobody else's random numbers change.

    Args:
        seed: Seed of all draws; not set, it follows ``--seed_everything``.

    Raises:
        UserError: If the seed is negative.
    """

    def __init__(self, seed: int | None = None) -> None:
        if seed is not None and seed < 0:
            raise UserError(f"seed must not be negative, got {seed}")
        self.seed = seed
        self._place: tuple[int, ...] = ()  # where all draws of the batch under way begin

    def changed(self, x: Tensor, y: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """A batch in place of another.

        Args:
            x: Samples, shape (N, *input_shape), floats; not to be written into.
            y: What the loader gives with them, shape (N, ...); likewise.
            random: Where to draw from.

        Returns:
            Samples and targets of the same shapes and dtypes.
        """
        raise NotImplementedError

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the way of each batch to the module, which Lightning has no hook of callbacks for."""
        strategy: Any = trainer.strategy
        if "training_step" not in vars(strategy):  # one of these callbacks does it for all
            strategy.training_step = _StepOnChanged(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Notes which batch it is."""
        # Read here, for a checkpoint may have restored it. Two callbacks must not draw the same numbers.
        seed = torch.initial_seed() if self.seed is None else self.seed
        which = zlib.crc32(type(self).__name__.encode())
        self._place = (which, seed, trainer.current_epoch, batch_idx, trainer.global_rank)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives batches their usual way back."""
        vars(trainer.strategy).pop("training_step", None)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self.on_train_end(trainer, pl_module)

    def change(self, batch: Any) -> Any:
        """A batch as a training step gets it.

        Args:
            batch: Samples, targets, and what else the loader gives.

        Raises:
            UserError: If it does not begin with samples and targets.
        """
        name = type(self).__name__
        pair = isinstance(batch, (tuple, list)) and len(batch) >= 2 and all(isinstance(p, Tensor) for p in batch[:2])
        if not pair or len(batch[0]) != len(batch[1]):
            raise UserError(
                f"{name} changes batches that begin with samples and targets, two tensors with one entry a sample; got "
                f"{type(batch).__name__}: have the loader give (x, y)"
            )
        if not batch[0].is_floating_point():
            raise UserError(
                f"{name} changes samples that are floats, got {batch[0].dtype}: convert them in the data set, or the "
                "loader"
            )
        with torch.no_grad():
            parts = [*self.changed(batch[0], batch[1], np.random.default_rng(self._place)), *batch[2:]]
        return batch._make(parts) if hasattr(batch, "_make") else type(batch)(parts)


class _StepOnChanged:
    """A strategy's training step, on batches that callbacks have changed."""

    def __init__(self, trainer: pl.Trainer) -> None:
        self._trainer = trainer
        self._step = trainer.strategy.training_step

    def __call__(self, batch: Any, *others: Any) -> Any:
        for callback in self._trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector of Lightning's
            if isinstance(callback, BatchCallback):
                batch = callback.change(batch)
        return self._step(batch, *others)
