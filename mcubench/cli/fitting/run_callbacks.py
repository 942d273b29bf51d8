"""Callbacks that every fit of the command line has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import Namespace
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from mcubench.cli.fitting.searched import searched_options
from mcubench.errors import UserError
from mcubench.files import atomic_path
from mcubench.results.run_folder import CONFIG
from mcubench.training.progress import steps_in

__all__ = ["ProgressBar", "SaveRunConfig", "TrainedWith"]


class ProgressBar(RichProgressBar):
    """Lightning's bar, without the run's name among the metrics."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The metrics that modules log with ``prog_bar=True``."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class TrainedWith(pl.Callback):
    """Keeps in checkpoints what a run was trained with, and since when, so that its result can tell.

    Args:
        options: By name, those that may change when the run goes on.

    Attributes:
        notes: What was changed.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self.options = dict(options)
        self.notes: list[str] = []
        self._changed: list[str] = []  # for this fit
        self._trains = False

    def state_dict(self) -> dict[str, Any]:
        """The options, and the notes so far."""
        return {"options": self.options, "notes": self.notes}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Notes what differs from the run so far."""
        state = checkpoint["callbacks"].get(self.state_key, {"options": {}, "notes": []})
        before, now = state["options"], self.options
        changed = [option for option in now if option in before and now[option] != before[option]]
        self._changed = [option for option in changed if option != "--trainer.callbacks"]
        told = [f"{option} {now[option]}, before {before[option]}" for option in changed]
        steps = steps_in(checkpoint)
        self.notes = [*state["notes"], *(f"went on after {steps} steps with {each}" for each in told)]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that the options will have an effect."""
        self._trains = True

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuses options that came too late.

        Raises:
            UserError: If there are any.
        """
        if self._changed and not self._trains:
            raise UserError(
                f"nothing is left to train, so that {', '.join(self._changed)} would change nothing: leave it out, or "
                "raise --trainer.max_epochs"
            )


class SaveRunConfig(SaveConfigCallback):
    """Saves the configuration in the run's folder, without the checkpoint that it resumed from.

    It is written when the first batch comes: a run that is refused before leaves the folder as it was.
    """

    def __init__(self, parser: LightningArgumentParser, config: Namespace, folder: Path) -> None:
        super().__init__(parser, config)
        self.folder = folder

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Does nothing yet."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Writes config.yaml: nothing kept the training from starting."""
        self._write(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes config.yaml of a run that had nothing to train."""
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> None:
        """Once, on the first process."""
        if self.already_saved or not trainer.is_global_zero:
            return
        self.already_saved = True
        config = self.config.clone()
        config["ckpt_path"] = None
        config["threads"] = torch.get_num_threads()  # sums of floats depend on it, so that this repeats the run
        data = getattr(trainer, "datamodule", None)
        for key, instance in (("model", trainer.lightning_module), ("data", data)):
            options = (config.get(key) or {}).get("init_args") or {}
            for name, (_, value) in searched_options(trainer, instance, options).items():
                options[name] = value
        with atomic_path(self.folder / CONFIG) as temporary:
            temporary.write_text(self.parser.dump(config, skip_unset=False), "utf-8")
