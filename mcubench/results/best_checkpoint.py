"""``best.ckpt``: the weights with the best validation metric."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

from mcubench._compat import mend_torchvision
from mcubench.errors import UserError
from mcubench.results.checkpoint_io import load_checkpoint

mend_torchvision()  # which the imports of lightning need

import lightning.pytorch as pl  # noqa: E402
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402

from mcubench.training.averaging import is_statistics_pass  # noqa: E402

__all__ = ["BestCheckpoint"]

_SMALL_IS_GOOD = ("loss", "error", "err", "mse", "mae", "rmse", "perplexity")
_LARGE_IS_GOOD = ("accuracy", "acc", "f1", "macro_f1", "auc", "auroc", "precision", "recall")


class BestCheckpoint(ModelCheckpoint):
    """Keeps ``best.ckpt`` in a folder, replaced whenever a validation is better than all before.

    It is written right after the validation, so that its weights are those that were validated. Unlike its base, it
    keeps the best value so far when the run's folder was moved.

    Args:
        folder: Where ``best.ckpt`` lies.
        monitor: The logged metric.
        mode: Whether the metric should be small or large; if it is not given, its name tells (``loss``, ``accuracy``).

    Raises:
        UserError: If the mode is not given and the name does not tell.
    """

    def __init__(self, folder: Path, monitor: str, mode: Literal["min", "max"] | None = None) -> None:
        super().__init__(
            dirpath=folder,
            filename="best",
            monitor=monitor,
            mode=mode or mode_of(monitor),
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the epoch if it is the best; averaged weights, for which statistics are computed, are of none."""
        if not is_statistics_pass(trainer):
            super().on_validation_end(trainer, pl_module)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the best value so far, if its checkpoint lies in this folder.

        One that a killed process saved after the checkpoint that is gone on from is of an epoch that is trained again.
        """
        path = Path(str(self.dirpath)) / "best.ckpt"
        if not state_dict["best_model_path"] or not path.exists():
            return
        with contextlib.suppress(UserError):  # who scores it will say that it can't be read
            saved = load_checkpoint(path)["callbacks"].get(self.state_key, state_dict)
            if saved["best_model_score"] != state_dict["best_model_score"]:
                return
        here = str(path)
        moved = {
            "dirpath": self.dirpath,
            "best_model_path": here,
            "kth_best_model_path": here,
            "best_k_models": dict.fromkeys([here], state_dict["best_model_score"]),
        }
        super().load_state_dict({**state_dict, **moved})


def mode_of(monitor: str) -> Literal["min", "max"]:
    """Whether a metric of this name should be small or large.

    Raises:
        UserError: If the name does not tell.
    """
    words = set(monitor.lower().replace("/", "_").replace("-", "_").split("_"))
    if words & set(_SMALL_IS_GOOD):
        return "min"
    if words & set(_LARGE_IS_GOOD):
        return "max"
    raise UserError(
        f"--checkpoint.monitor {monitor}: the name does not tell what is good; say --checkpoint.mode min or max"
    )
