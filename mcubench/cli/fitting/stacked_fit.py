"""A fit that trains several seeds at once: made from the words of one, concluded as many."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from mcubench.callbacks import SizeBudget
from mcubench.cli.fitting.conclusion import FinishedFit, conclude_fit
from mcubench.cli.fitting.lightning import BenchCLI
from mcubench.cli.fitting.run_callbacks import SaveRunConfig
from mcubench.cli.fitting.run_log import printing_to
from mcubench.console import say
from mcubench.datamodules import TensorDataModule
from mcubench.errors import UserError
from mcubench.results.best_checkpoint import BestCheckpoint
from mcubench.results.run_folder import shown
from mcubench.seeds import (
    SeedLog,
    SeedRun,
    SeedRuns,
    StackedClassifiers,
    StackedData,
    obstacle_in_data,
    obstacle_in_models,
)

__all__ = ["ObstacleError", "StackedCLI", "obstacle_in_options", "trained_together"]

# Options of the trainer that mean the same for one seed and for several at once.
_SAME = {
    *("accelerator", "devices", "max_epochs", "min_epochs", "max_steps", "min_steps", "default_root_dir"),
    *("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"),
    *("val_check_interval", "check_val_every_n_epoch", "num_sanity_val_steps", "log_every_n_steps"),
    *("enable_checkpointing", "enable_progress_bar", "enable_model_summary", "inference_mode"),
    *("deterministic", "benchmark", "detect_anomaly", "gradient_clip_algorithm", "use_distributed_sampler"),
}
_DIFFERENT = {
    "callbacks": "callbacks of your own watch one model",
    "logger": "loggers of your own log one run",
    "gradient_clip_val": "gradients are clipped by the norm of all parameters",
    "accumulate_grad_batches": "gradients are accumulated",
    "max_time": "each run has --trainer.max_time for itself",
}


class ObstacleError(Exception):
    """The seeds can't be trained at once with the results of separate runs; the message says why."""


def trained_together(seeds: int) -> str:
    """The note of a result whose seconds are those of several seeds."""
    return f"trained together with {seeds - 1} other{'s' * (seeds > 2)} (--seeds): seconds are those of all"


class StackedCLI(BenchCLI):
    """A fit of several seeds, with everything else as `BenchCLI` makes it of the words for the first.

    Args:
        args: What `BenchCLI` takes.
        seeds: The seeds; the first is that of `args`.
        words: The words after ``fit`` without the seed, for the commands that repeat one.

    Raises:
        ObstacleError: If the seeds must be trained one after another; nothing has been written then.
    """

    def __init__(self, *args: Any, seeds: Sequence[int], words: Sequence[str], **kwargs: Any) -> None:
        self.seeds = list(seeds)
        self.words = list(words)
        self.runs: list[SeedRun] = []
        self.prices: list[Callback] = []
        super().__init__(*args, **kwargs)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Makes the other seeds' models, each as its own run would, and a trainer that keeps a run folder for each."""
        given = self.config_init[self.verb]
        if given.trainer.fast_dev_run:
            raise UserError("--seeds sums up results, and a fast_dev_run leaves none: leave --trainer.fast_dev_run out")
        self._raise(obstacle_in_options(given.trainer))
        self._raise(None if given.distill.run is None else "they learn from a teacher (--distill)")
        assert self.given_folder is not None
        self.runs = [self._run(seed) for seed in self.seeds]
        self._raise(obstacle_in_models([run.model for run in self.runs]))
        self._raise(obstacle_in_data(self.datamodule))
        # Each seed has its own config.yaml and checkpoints; Lightning would make one of each.
        self.save_config_callback = None
        trainer = super().instantiate_trainer(**{**kwargs, "enable_checkpointing": False})
        trainer.loggers = [SeedLog(run.folder, run.seed) for run in self.runs]
        keeps = given.trainer.enable_checkpointing is not False
        if keeps:
            options = given.checkpoint
            for run in self.runs:
                monitor = options.monitor or "val/accuracy"
                run.best = BestCheckpoint(run.folder / "checkpoints", monitor, options.mode)
        self.last = SeedRuns(
            self.runs, self.datamodule, self.prices, keeps, given.checkpoint.every_n_train_steps if keeps else None
        )
        trainer.callbacks.append(self.last)  # type: ignore[attr-defined]
        return trainer

    def _raise(self, obstacle: str | None) -> None:
        if obstacle is not None:
            raise ObstacleError(obstacle)

    def _run(self, seed: int) -> SeedRun:
        """A seed, at the moment at which its own run would begin to train."""
        assert self.given_folder is not None
        config = self.config[self.verb].clone()
        config["seed_everything"] = seed
        model = self.model
        if seed != self.seeds[0]:
            pl.seed_everything(seed, workers=True, verbose=False)
            model = self._get(self.parser.instantiate_classes(self.config), "model")
        folder = self.given_folder / f"seed-{seed}"
        return SeedRun(seed, model, folder, None, SaveRunConfig(self._parser(self.verb), config, folder))

    def _keep_alone(self, folder: Path) -> None:
        """Does nothing: who made the folder of all seeds keeps others out of it."""

    def _costs(self, budget: SizeBudget) -> list[Callback]:
        """None of the trainer's own: `SeedRuns` shows them a model, not the stack."""
        self.prices = super()._costs(budget)
        return []

    def _checkpoints(self, options: Any) -> list[Callback]:
        """None: `SeedRuns` has each seed's."""
        return []

    def fit(self, model: pl.LightningModule, **kwargs: Any) -> None:
        """Trains all seeds, after a line that says what and where."""
        assert isinstance(self.datamodule, TensorDataModule)
        seeds, device = f"seeds {self.seeds[0]} to {self.seeds[-1]}", self.trainer.strategy.root_device
        title = " on ".join(self._names())
        say(self.console, f"{title} starts: {seeds} at once, {device}, {shown(self.folder)}")
        for run in self.runs:
            shutil.rmtree(run.folder, ignore_errors=True)  # an attempt that did not come to its end
        stacked = StackedClassifiers([run.model for run in self.runs], self.seeds)
        self.trainer.fit(stacked, StackedData(self.datamodule, self.seeds), weights_only=True)

    def after_fit(self) -> None:
        """Concludes each seed as its own run, with its table in the log of its folder."""
        assert isinstance(self.last, SeedRuns)
        for run in self.runs:
            finished = FinishedFit(
                trainer=self.last.seen_by(run, self.trainer),
                model=run.model,
                datamodule=self.datamodule,
                config={**self.config_dump, "seed_everything": run.seed},
                folder=run.folder,
                best=run.best,
                timer=self.timer,
                threads=self.threads,
                costs=self.costs,
                budget=self.config_init[self.verb].budget.problem,
                resumed_at=None,
                command=["fit", *self.words, f"--seed_everything={run.seed}"],
                started=self.started,
                notes=(trained_together(len(self.seeds)),),
            )
            run.folder.mkdir(exist_ok=True)
            with printing_to(run.folder):
                conclude_fit(finished, Console())

    def _saved(self, path: Path) -> str:
        """Says what Ctrl-C has left, and how to go on."""
        one = shown(self.runs[0].folder)
        return f"saved all seeds in {shown(path)}. Go on with one of them: python -m mcubench fit --ckpt_path {one}"


def obstacle_in_options(trainer: Namespace) -> str | None:
    """Why options of the trainer mean something else for several seeds at once; ``None`` if none does."""
    defaults: Mapping[str, inspect.Parameter] = inspect.signature(pl.Trainer).parameters
    for name, value in vars(trainer).items():
        if name in _SAME or value in (None, defaults[name].default, [], {}):
            continue
        if name == "gradient_clip_val" and trainer.gradient_clip_algorithm == "value":
            continue
        if (name, value) in (("logger", False), ("gradient_clip_val", 0)):
            continue
        if name == "precision" and str(value) in ("32", "32-true"):
            continue
        return _DIFFERENT.get(name, f"--trainer.{name} is set")
    return None
