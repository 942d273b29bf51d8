"""``last.ckpt``: the state to resume from, whatever ended the run; and ``averaged.ckpt``."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Checkpoint

from mcubench.errors import UserError
from mcubench.stopping import stopped_by
from mcubench.training.averaging import check_averaging, holds_average, is_statistics_pass
from mcubench.training.progress import steps_taken

__all__ = ["AVERAGED", "LastCheckpoint"]

AVERAGED = "averaged.ckpt"


class LastCheckpoint(Checkpoint):
    """Writes ``checkpoints/last.ckpt`` in the first logger's folder after every epoch and when Ctrl-C or SIGTERM comes.

    The first one lets the step under way finish, saves, and ends the run; the checkpoint lies between two steps,
    so resuming from it is exact. During validation it ends the run at once, with the last checkpoint as it was. A
    second one aborts. Of several processes all stop at the same step, whichever was asked to, and none in validation.
    In manual optimisation a batch is a step as long as Lightning has seen none. Behind SIGTERM the process ends with
    143, if nobody catches `mcubench.stopping.Terminated`.

    Weights that ``StochasticWeightAveraging`` has averaged, which a module has when training has ended, are saved as
    ``checkpoints/averaged.ckpt``. The pass over the data that only computes running statistics for them is no epoch to
    resume from.

    Args:
        every_n_train_steps: Also save after every so many optimiser steps, for long epochs.

    Attributes:
        path: Where it was last saved, or ``None``.
        interrupted: Whether Ctrl-C or SIGTERM ended the run.
    """

    def __init__(self, every_n_train_steps: int | None = None) -> None:
        super().__init__()
        if every_n_train_steps is not None and every_n_train_steps < 1:
            raise UserError(f"every_n_train_steps must be at least 1, got {every_n_train_steps}")
        self.every_n_train_steps = every_n_train_steps
        self.path: Path | None = None
        self.interrupted = False
        self._folder = Path()
        self._signal: int = signal.SIGINT  # what it was interrupted by
        self._previous_handlers: dict[signal.Signals, Any] = {}
        self._step = 0  # the last optimiser step that was seen

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Chooses the folder as Lightning's ``ModelCheckpoint`` does, the same on all processes."""
        folder = Path(trainer.default_root_dir)
        if trainer.loggers:
            logger = trainer.loggers[0]
            version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
            folder = Path(logger.save_dir or folder) / str(logger.name) / version
        self._folder = Path(trainer.strategy.broadcast(str(folder))) / "checkpoints"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes over both signals (possible in the main thread only), and notes the step that a resumed run starts at.

        Raises:
            UserError: If weights are averaged in a way that leaves untrained ones.
        """
        check_averaging(trainer)
        self.interrupted = False
        self._step = steps_taken(trainer)
        # Not before this hook: Lightning has noted by now which handlers it must restore, and ours is not among them.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous_handlers[number] = signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise stopped_by(number)
        self.interrupted, self._signal = True, number
        again = b"; Ctrl-C again aborts at once" if number == signal.SIGINT else b""
        os.write(2, b"\nstops when this step is done, and saves" + again + b"\n")  # safe in a handler

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends the run if it was asked to before the first step: a classical model begins one that takes minutes."""
        self._agree(trainer)
        self._stop_if_asked()

    def _agree(self, trainer: pl.Trainer) -> None:
        """Has all processes know what one of them was asked: they would wait for it at the next step."""
        if not (dist.is_available() and dist.is_initialized()):
            return
        asked = torch.tensor(self._signal if self.interrupted else 0, device=trainer.strategy.root_device)
        dist.all_reduce(asked, dist.ReduceOp.MAX)
        if number := int(asked):
            self.interrupted, self._signal = True, number

    def _stop_if_asked(self) -> None:
        if self.interrupted:
            raise stopped_by(self._signal)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Saves if it is time to, or if the run is to end."""
        self._agree(trainer)
        if is_statistics_pass(trainer):  # nothing is trained, so that there is nothing to wait for or to save
            self._stop_if_asked()
            return
        step = steps_taken(trainer)
        if step == self._step and not (self.interrupted and trainer.is_last_batch):
            return  # gradients are still accumulating, and no checkpoint holds them
        due = step != self._step and self.every_n_train_steps is not None and step % self.every_n_train_steps == 0
        self._step = step
        fitted = getattr(pl_module, "is_fitted", False)  # a classical model trains in one step, which may take hours
        if due or fitted or self.interrupted:
            self._save(trainer)
        self._stop_if_asked()

    def on_validation_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Ends the run if it was asked to; of several processes none ends before the others, so that it waits."""
        if trainer.world_size == 1:
            self._stop_if_asked()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves the finished epoch; ends the run if it was asked to, and no batch came to an end since."""
        self._agree(trainer)
        if not is_statistics_pass(trainer):
            self._save(trainer)
        self._stop_if_asked()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Saves averaged weights, which the module has from now on, and no epoch had; gives the signals back.

        In ``teardown`` it would be too late: Lightning has restored what it found by then, and its own handler, which
        was found here, would stay for good. It does no more than log.
        """
        if holds_average(trainer) and not getattr(trainer, "fast_dev_run", False):
            trainer.save_checkpoint(self._folder / AVERAGED, weights_only=False)
        self._release()

    def _save(self, trainer: pl.Trainer) -> None:
        if getattr(trainer, "fast_dev_run", False):
            return
        self.path = self._folder / "last.ckpt"
        trainer.save_checkpoint(self.path, weights_only=False)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Gives the signals back: training does not come to its end."""
        self._release()

    def _release(self) -> None:
        while self._previous_handlers:
            signal.signal(*self._previous_handlers.popitem())
