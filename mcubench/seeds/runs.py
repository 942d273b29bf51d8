"""The run folder of each seed while all of them are trained at once: checkpoints, metrics and options."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import lightning.pytorch as pl
from torch import Tensor

from mcubench.callbacks import LastCheckpoint, RandomState
from mcubench.callbacks.random_state import random_states
from mcubench.models import Classifier
from mcubench.results.best_checkpoint import BestCheckpoint
from mcubench.results.checkpoint_io import AtomicCheckpointIO
from mcubench.results.logged import Logged, logged_by
from mcubench.results.metrics_log import MetricsLog
from mcubench.seeds.checkpoint import KeptInMemory, checkpoint_of_seed
from mcubench.seeds.module import StackedClassifiers, prefix_of

__all__ = ["SeedLog", "SeedRun", "SeedRuns"]


class SeedLog(MetricsLog):
    """The metrics of one seed, under the names that its own run would give them.

    Args:
        folder: The seed's run folder.
        seed: The seed.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder.parent, folder.name)
        self._prefix = prefix_of(seed)

    def own(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """The seed's own metrics, and those that are nobody's in particular."""
        return super().own(own_metrics(metrics, self._prefix))


def own_metrics(metrics: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Metrics without those of other seeds, and without the prefix."""
    common = {name: value for name, value in metrics.items() if not name.startswith("seed-")}
    own = {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}
    return {**common, **own}  # the mean over seeds, which the progress bar shows, has a name of theirs


@dataclass
class SeedRun:
    """One seed of those that are trained at once.

    Attributes:
        seed: The seed.
        model: Its classifier; it has its weights of the last save.
        folder: Its run folder.
        best: Keeps its best checkpoint; ``None`` if none is asked for.
        config: Writes ``config.yaml`` when training begins.
        random: The random states that its own run would have had when it began to train.
    """

    seed: int
    model: Classifier
    folder: Path
    best: BestCheckpoint | None
    config: pl.Callback
    random: dict[str, Any] = field(default_factory=random_states)


class SeedTrainer:
    """The joint trainer as one seed's callbacks see it: its metrics are the seed's, and what it saves, too."""

    def __init__(self, trainer: pl.Trainer, run: SeedRun, save: Callable[[Path], None]) -> None:
        self._trainer = trainer
        self._prefix = prefix_of(run.seed)
        self._save = save

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    @property
    def callback_metrics(self) -> dict[str, Tensor]:
        """The seed's metrics, for callbacks that watch one."""
        return own_metrics(self._trainer.callback_metrics, self._prefix)

    @property
    def logged_metrics(self) -> dict[str, Tensor]:
        """The seed's metrics, as they were logged last."""
        return own_metrics(self._trainer.logged_metrics, self._prefix)

    def save_checkpoint(self, path: str | Path, weights_only: bool | None = None) -> None:
        """Saves the seed's checkpoint."""
        self._save(Path(path))


class SeedRuns(LastCheckpoint):
    """Keeps for each seed what its own run would keep: ``last.ckpt``, ``best.ckpt`` and ``config.yaml``.

    Args:
        runs: The seeds, in the order of the stack.
        data: Their data module.
        costs: The callbacks that price a model; all seeds cost the same, and they are shown the first.
        checkpoints: Whether checkpoints are kept.
        every_n_train_steps: Also write ``last.ckpt`` after every so many optimiser steps.
    """

    def __init__(
        self,
        runs: Sequence[SeedRun],
        data: pl.LightningDataModule,
        costs: Sequence[pl.Callback],
        checkpoints: bool = True,
        every_n_train_steps: int | None = None,
    ) -> None:
        super().__init__(every_n_train_steps)
        self.runs = runs
        self.data = data
        self.costs = costs
        self.checkpoints = checkpoints
        self._memory = KeptInMemory()
        self._logged: list[dict[str, Any]] = []  # of each seed, at the moment that was taken last
        self._begun = False
        self._taken = False  # whether it holds this moment, as all seeds saved at one validation share it

    def seen_by(self, run: SeedRun, trainer: pl.Trainer) -> pl.Trainer:
        """The joint trainer, as a seed sees it."""

        def save(path: Path) -> None:
            if not self._taken:
                self._take(trainer)
            self._write(run, path)

        return cast("pl.Trainer", SeedTrainer(trainer, run, save))

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Has checkpoints kept in memory, and those of the seeds find their folders."""
        super().setup(trainer, pl_module, stage)
        trainer.strategy.checkpoint_io = self._memory
        for run in self.runs:
            if run.best is not None:
                run.best.setup(self.seen_by(run, trainer), run.model, stage)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts what one of the models costs."""
        for callback in self.costs:
            callback.on_fit_start(trainer, self.runs[0].model)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Lets the callbacks know that nothing kept the training from starting."""
        if self._begun:
            return
        self._begun = True
        for callback in (*self.costs, *(run.config for run in self.runs)):
            callback.on_train_batch_start(trainer, self.runs[0].model, batch, batch_idx)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the best checkpoints of seeds that were better than ever."""
        self._taken = False
        for run in self.runs:
            if run.best is not None:
                run.best.on_validation_end(self.seen_by(run, trainer), run.model)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves each seed's model with its last weights."""
        self._unstack(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes each config.yaml of runs that had nothing to train."""
        for run in self.runs:
            run.config.on_fit_end(trainer, run.model)

    def _save(self, trainer: pl.Trainer) -> None:
        if not self.checkpoints:
            return
        self._take(trainer)
        for run in self.runs:
            self._write(run, run.folder / "checkpoints" / "last.ckpt")
        self.path = self.runs[0].folder.parent

    def _take(self, trainer: pl.Trainer) -> None:
        """Takes the joint checkpoint into memory, and the seeds' weights into their models."""
        trainer.save_checkpoint("last.ckpt", weights_only=False)
        logs = cast("list[MetricsLog]", trainer.loggers)
        self._logged = [logged_by(self.seen_by(run, trainer), log) for run, log in zip(self.runs, logs, strict=True)]
        self._unstack(trainer)
        self._taken = True

    def _unstack(self, trainer: pl.Trainer) -> None:
        module = trainer.lightning_module
        assert isinstance(module, StackedClassifiers)
        for index, run in enumerate(self.runs):
            module.stack.copy_to(run.model, index)

    def _write(self, run: SeedRun, path: Path) -> None:
        index = self.runs.index(run)
        states = {each.state_key: each.state_dict() for each in (*self.costs, *([run.best] if run.best else []))}
        states[RandomState().state_key] = run.random
        states[Logged.__qualname__] = self._logged[index]
        checkpoint = checkpoint_of_seed(self._memory.checkpoint, index, run.model, self.data, states)
        AtomicCheckpointIO().save_checkpoint(checkpoint, path)
