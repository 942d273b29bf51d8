"""Callbacks that every fit of the command line has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import Namespace
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from mcubench.cli.fitting.searched import searched_options
from mcubench.files import atomic_path
from mcubench.results.run_folder import CONFIG

__all__ = ["ProgressBar", "SaveRunConfig"]


class ProgressBar(RichProgressBar):
    """Lightning's bar, without the run's name among the metrics."""

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """The metrics that modules log with ``prog_bar=True``."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


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
