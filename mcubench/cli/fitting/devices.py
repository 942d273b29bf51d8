"""Which ways of training on several devices a command takes."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.strategies.launchers import _MultiProcessingLauncher

from mcubench.errors import UserError

__all__ = ["check_devices"]


def check_devices(trainer: pl.Trainer, model: pl.LightningModule, several: bool) -> None:
    """Sees before the training that it can be done in as many processes as are asked for.

    Args:
        trainer: The trainer, which has not begun yet.
        model: What it is to train.
        several: Whether this is one of several fits in one process.

    Raises:
        UserError: If it can't.
    """
    if isinstance(trainer.strategy.launcher, _MultiProcessingLauncher):
        raise UserError(
            "processes that are spawned or forked give back no more than weights, and the table of a run needs all "
            "that its callbacks saw: use --trainer.strategy ddp"
        )
    if trainer.world_size == 1:
        return
    if several:
        raise UserError("several fits in one process can't share devices: use --trainer.devices 1")
    if hasattr(model, "is_fitted"):
        raise UserError(
            f"{type(model).__name__} is a classical model, which one process fits on all samples: use "
            "--trainer.devices 1"
        )
