"""Several optimiser steps in one step of Lightning's loop.

Lightning spends about half a millisecond on each batch, as much as a tiny model's arithmetic. Here the loop makes
several batches' steps before it looks up: before it moves the progress bar, asks whether to validate or stop, and
listens for signals. Updates, their order, counters, logs and the hooks of callbacks are those of a loop that looks up
after each batch.
"""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.loops.fetchers import _DataFetcher
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from lightning.pytorch.profilers import PassThroughProfiler
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.trainer import call
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from mcubench.errors import UserError
from mcubench.training.hooks import StepHooks
from mcubench.training.step import Step

__all__ = ["ExecutionLoop"]

_DEFAULT = 50  # steps per execution, where none are asked for and nothing stands against it
_TRANSFER_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")


def _obstacle(trainer: pl.Trainer) -> str | None:
    """Why steps can't be made without Lightning's whole machinery; ``None`` if they can.

    Args:
        trainer: A trainer with its module.
    """
    plugin = trainer.precision_plugin
    if type(trainer.strategy) is not SingleDeviceStrategy:
        return f"{type(trainer.strategy).__name__} has its own way of making a step"
    if type(plugin) not in (Precision, MixedPrecision, DoublePrecision, HalfPrecision) or getattr(
        plugin, "scaler", None
    ):
        return f"precision {trainer.precision} scales gradients around each step"
    profiler = type(trainer.profiler)  # type: ignore[attr-defined]  # set by a connector of Lightning's
    if profiler is not PassThroughProfiler:
        return f"{profiler.__name__} measures what is left out"
    return _obstacle_in(trainer.lightning_module)


def _obstacle_in(module: pl.LightningModule) -> str | None:
    name = type(module).__name__
    if not module.automatic_optimization:
        return f"{name} optimises by itself (automatic_optimization = False)"
    if is_overridden("optimizer_step", module):
        return f"{name} overrides optimizer_step"
    if is_param_in_hook_signature(module.training_step, "dataloader_iter", explicit=True):
        return f"{name}.training_step takes its batches itself (dataloader_iter)"
    return None


class ExecutionLoop(_TrainingEpochLoop):
    """Lightning's loop over the batches of an epoch, which makes several steps at a time.

    A module asks for it with an attribute ``steps_per_execution``; a module without it is trained as ever.
    """

    _step: Step
    _hooks: StepHooks
    _steps: int = 1
    _transfers: bool = True
    _looked_up: bool = False

    @classmethod
    def install(cls, trainer: pl.Trainer) -> None:
        """Puts it in the place of a trainer's loop, with all that the loop has counted.

        Raises:
            UserError: If the module asks for several steps, and something stands against it.
        """
        _steps_per_execution(trainer)
        loop = trainer.fit_loop.epoch_loop
        if not isinstance(loop, cls):
            ours = cls(trainer, loop.min_steps, loop.max_steps)
            ours.__dict__.update(vars(loop))
            trainer.fit_loop.epoch_loop = ours

    def on_run_start(self, data_fetcher: _DataFetcher) -> None:
        """Looks anew in each epoch whether several steps are possible."""
        super().on_run_start(data_fetcher)
        self._steps = _steps_per_execution(self.trainer)
        if self._steps > 1:
            self._prepare()

    def _prepare(self) -> None:
        trainer = self.trainer
        self._hooks = StepHooks(trainer)
        self._step = Step(trainer, self._hooks)
        owners = [trainer.lightning_module, *([trainer.datamodule] if trainer.datamodule else [])]
        overridden = any(is_overridden(name, owner) for name in _TRANSFER_HOOKS for owner in owners)
        self._transfers = overridden or type(trainer.precision_plugin) is not Precision

    def advance(self, data_fetcher: _DataFetcher) -> None:
        """Makes up to `steps_per_execution` steps; fewer before a validation, a stop and the end of the epoch."""
        # What was under way when a checkpoint was written is Lightning's, and so are epochs that only run forward.
        if self._steps == 1 or self.restarting or self.automatic_optimization._skip_backward:
            super().advance(data_fetcher)
            return
        seen: tuple[Any, ...] | None = None
        try:
            for left in reversed(range(self._steps)):
                seen = self._train(data_fetcher, first=seen is None)
                if left == 0 or self.done or self._should_check_val_fx(data_fetcher):
                    break
                super().on_advance_end(data_fetcher)
                if self.done:  # a scheduler may ask for it
                    self._looked_up = True
                    break
        finally:  # also where the module wants no more of this epoch
            if seen is not None:
                self._hooks.bar_end(*seen)

    def on_advance_end(self, data_fetcher: _DataFetcher) -> None:
        """Looks up, unless the last step has done so."""
        if self._looked_up:
            self._looked_up = False
        else:
            super().on_advance_end(data_fetcher)

    def _train(self, data_fetcher: _DataFetcher, first: bool) -> tuple[Any, Any, int]:
        """What Lightning does with one batch, in its order; gives what progress bars are told at its end."""
        connector = self.trainer._logger_connector
        batch, _, _ = next(data_fetcher)
        batch_idx = self.batch_idx + 1
        self.batch_progress.is_last_batch = data_fetcher.done
        batch = self._on_device(batch)
        self.batch_progress.increment_ready()
        connector.on_batch_start(batch)
        if self._hooks.callbacks != self.trainer.callbacks:  # some may come and go
            self._prepare()
        output: Any = None
        skips_rest = False
        if batch is None:
            self._warning_cache.warn("train_dataloader yielded None. If this was on purpose, ignore this warning...")
        else:
            if first:
                self._hooks.bar_start(batch, batch_idx)
            skips_rest = self._hooks.batch_start(batch, batch_idx) == -1  # so a module says that it wants no more
            if skips_rest:
                self.batch_progress.increment_by(0, is_last_batch=True)
            else:
                self.batch_progress.increment_started()
                output = self._step(batch, batch_idx, self._should_accumulate())
        self.batch_progress.increment_processed()
        self.update_lr_schedulers("step", update_plateau_schedulers=False)
        if self._num_ready_batches_reached():
            self.update_lr_schedulers("epoch", update_plateau_schedulers=False)
        if skips_rest:
            raise StopIteration
        self._hooks.batch_end(output, batch, batch_idx)
        connector.on_batch_end()
        self.batch_progress.increment_completed()
        connector.update_train_step_metrics()
        return output, batch, batch_idx

    def _on_device(self, batch: Any) -> Any:
        device = self.trainer.strategy.root_device
        plain = type(batch) in (list, tuple) and all(isinstance(part, Tensor) for part in batch)
        if plain and not self._transfers and all(part.device == device for part in batch):
            return batch
        batch = self.trainer.precision_plugin.convert_input(batch)
        batch = self.trainer.lightning_module._on_before_batch_transfer(batch, dataloader_idx=0)
        return call._call_strategy_hook(self.trainer, "batch_to_device", batch, dataloader_idx=0)


def _steps_per_execution(trainer: pl.Trainer) -> int:
    """What the module asks for; if it leaves it open, as many as there is nothing against.

    Raises:
        UserError: If it asks for several, and something stands against it.
    """
    asked: int | None = getattr(trainer.lightning_module, "steps_per_execution", 1)
    if asked == 1:
        return 1
    if asked is not None and asked < 1:
        raise UserError(f"steps_per_execution must be at least 1, got {asked}")
    problem = _obstacle(trainer)
    if problem is None:
        return asked or _DEFAULT
    if asked is None:
        return 1
    raise UserError(f"steps_per_execution {asked} is not possible here: {problem}; leave it out, or say 1")
