"""What a trainer remembers as the best so far, and forgets where the model becomes another one."""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau

__all__ = ["forget_best"]


def forget_best(trainer: pl.Trainer) -> None:
    """Has all that remembers the best value of a metric start anew, in the middle of a fit.

    Those are checkpoints that monitor a metric, early stopping, and schedulers that wait for a plateau. Files stay.
    """
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector of Lightning's
    for each in callbacks:
        if isinstance(each, ModelCheckpoint) and each.monitor is not None:
            each.best_k_models, each.best_model_path, each.kth_best_model_path = {}, "", ""
            each.best_model_score = each.current_score = None
            each.kth_value = _worst(each.mode)
        elif isinstance(each, EarlyStopping):
            each.best_score, each.wait_count = _worst(each.mode), 0
    for config in trainer.lr_scheduler_configs:
        scheduler = config.scheduler
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.best, scheduler.num_bad_epochs, scheduler.cooldown_counter = scheduler.mode_worse, 0, 0
    if not _is_read_without_validation(trainer, callbacks):
        trainer.callback_metrics.clear()


def _worst(mode: str) -> torch.Tensor:
    return torch.tensor(torch.inf if mode == "min" else -torch.inf)


def _is_read_without_validation(trainer: pl.Trainer, callbacks: list[pl.Callback]) -> bool:
    """Whether somebody looks at the end of each epoch for a metric that is not logged in each, and fails without it."""
    if trainer.check_val_every_n_epoch == 1:
        return False
    asked = ("_save_on_train_epoch_end", "_check_on_train_epoch_end")
    return any(getattr(each, name, None) for each in callbacks for name in asked)
