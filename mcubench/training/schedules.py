"""Learning-rate schedules that are laid out over a run, and what becomes of them when something changes after that."""

from __future__ import annotations

import math
from typing import Literal

import lightning.pytorch as pl
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from mcubench.errors import UserError
from mcubench.training.averaging import averaging_of

__all__ = ["LaidOut", "Schedule", "planned_steps"]

Schedule = Literal["constant", "cosine", "onecycle"]


def planned_steps(trainer: pl.Trainer) -> float:
    """Optimiser steps of a fit, without the pass that only computes running statistics for averaged weights."""
    loop = trainer.fit_loop
    asked, counted = getattr(averaging_of(trainer), "_max_epochs", None), loop.max_epochs
    if asked is None or counted != asked + 1:
        return trainer.estimated_stepping_batches
    try:
        loop.max_epochs = asked
        return trainer.estimated_stepping_batches
    finally:
        loop.max_epochs = counted


class LaidOut:
    """A schedule over a number of steps, stepped with every one.

    Args:
        kind: ``cosine``, down to 0; or ``onecycle``, up to the learning rate and down.
        optimizer: Whose learning rates it sets.
        learning_rate: The highest.
        steps: Of the run.

    Attributes:
        scheduler: What Lightning steps.
    """

    scheduler: LRScheduler

    def __init__(self, kind: Schedule, optimizer: Optimizer, learning_rate: float, steps: int) -> None:
        self.kind = kind
        self._optimizer = optimizer
        self._lay_out(learning_rate, steps)

    def _lay_out(self, learning_rate: float, steps: int) -> None:
        self._learning_rate = learning_rate
        if self.kind == "cosine":
            self.scheduler = CosineAnnealingLR(self._optimizer, T_max=steps)
        else:
            self.scheduler = OneCycleLR(self._optimizer, learning_rate, total_steps=steps)

    @property
    def steps(self) -> int:
        """Of the run that it was laid out for; of a restored one, when it was begun."""
        found: int = getattr(self.scheduler, "total_steps", getattr(self.scheduler, "T_max", 0))
        return found

    def is_stepped(self, trainer: pl.Trainer) -> bool:
        """Whether it is this one that a trainer steps: others may take its place for a while, or for good."""
        return any(config.scheduler is self.scheduler for config in trainer.lr_scheduler_configs)

    def follow_length(self, trainer: pl.Trainer, learning_rate: float) -> None:
        """Is laid out anew if the run has become shorter or longer before its first step, as with another batch size.

        Raises:
            UserError: If the run has begun before: then it was laid out for another run.
        """
        steps = planned_steps(trainer)
        is_used = trainer.global_step == 0 and self.scheduler.last_epoch > 0  # by trials of a search, say
        if not self.is_stepped(trainer) or (steps == self.steps and not is_used):
            return
        if trainer.global_step > 0 or not math.isfinite(steps):
            raise UserError(
                f"schedule {self.kind!r} of the resumed run was laid out for {self.steps} steps, and this run has "
                f"{steps}: keep max_epochs, max_steps and batch_size as they were, or train anew; runs that will be "
                "extended need schedule constant"
            )
        config = next(each for each in trainer.lr_scheduler_configs if each.scheduler is self.scheduler)
        for group in self._optimizer.param_groups:
            for name in ("initial_lr", "max_lr", "min_lr"):
                group.pop(name, None)
            group["lr"] = learning_rate
        self._lay_out(learning_rate, int(steps))
        config.scheduler = self.scheduler

    def follow_rate(self, trainer: pl.Trainer, learning_rate: float, before: float | None = None) -> None:
        """Has the rest scaled by a new highest learning rate.

        Args:
            trainer: The trainer, which steps it.
            learning_rate: The new one.
            before: What the schedule was laid out for, if it was restored from a run that had another.

        Raises:
            UserError: If the optimiser's own rate was set to something else than the schedule says.
        """
        if not self.is_stepped(trainer):
            return
        if before is not None:
            self._learning_rate = before
        groups, last = self._optimizer.param_groups, self.scheduler.get_last_lr()
        if learning_rate != self._learning_rate:
            factor = learning_rate / self._learning_rate
            self._learning_rate = learning_rate
            last = [float(rate) * factor for rate in last]
            self.scheduler._last_lr = last
            self.scheduler.base_lrs = [rate * factor for rate in self.scheduler.base_lrs]
            for group, rate in zip(groups, last, strict=True):
                group["lr"] = rate
                group.update(
                    {name: group[name] * factor for name in ("initial_lr", "max_lr", "min_lr") if name in group}
                )
        for group, rate in zip(groups, last, strict=True):
            if group["lr"] != rate:
                raise UserError(
                    f"the optimiser's learning rate was set to {group['lr']:.6g} where schedule {self.kind!r} has "
                    f"{rate:.6g} and sets it at every step: set the model's learning_rate instead, which it follows, "
                    "or use schedule constant"
                )
