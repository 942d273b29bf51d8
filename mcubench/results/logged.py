"""What was logged so far, in every checkpoint: a run that goes on has lost none of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcubench._compat import mend_torchvision
from mcubench.results.metrics_log import MetricsLog

mend_torchvision()  # which the imports of lightning need

import lightning.pytorch as pl  # noqa: E402
import torch  # noqa: E402

__all__ = ["Logged", "logged_by"]


class Logged(pl.Callback):
    """Saves what was logged in every checkpoint, and gives it back to the trainer and the log when a run goes on.

    Lightning logs a step, and an epoch, after its checkpoint is saved: if the process is killed in between, nobody
    would log them any more.

    Args:
        log: The run's log.
    """

    def __init__(self, log: MetricsLog) -> None:
        self._log = log
        self._trainer: pl.Trainer | None = None
        self._restored: Mapping[str, Any] = {}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forgets a checkpoint that was loaded for something else than training."""
        self._trainer, self._restored = trainer, {}

    def state_dict(self) -> dict[str, Any]:
        """The metrics by name, and the last row."""
        return {} if self._trainer is None else logged_by(self._trainer, self._log)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps them until the fit begins."""
        self._restored = state_dict

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Gives them back."""
        state, self._restored = self._restored, {}
        values = {name: torch.tensor(value) for name, value in state.get("metrics", {}).items()}
        trainer._logger_connector._logged_metrics.update(values)
        if row := state.get("row"):
            self._log.log_metrics(row, int(row["step"]))


def logged_by(trainer: pl.Trainer, log: MetricsLog) -> dict[str, Any]:
    """What a trainer has logged so far, or is about to log of the step or epoch that has just ended.

    Args:
        trainer: The trainer, in the middle of a fit.
        log: Its log.

    Returns:
        ``metrics``, the last value of each; ``row``, the last row, empty if nothing is logged of this step; and
        ``before``, what `MetricsLog.rows_before` says of those that are in the file.
    """
    connector, loop = trainer._logger_connector, trainer.fit_loop
    epoch_ended = connector._first_loop_iter is None
    pending: dict[str, Any] = {}
    if trainer.training and (epoch_ended or (connector.should_update_logs and not loop._should_accumulate())):
        pending = {name: value.item() for name, value in connector.metrics["log"].items()}
    step = loop.epoch_loop._batches_that_stepped - (epoch_ended and trainer.training)
    if "step" in pending:
        step = int(pending.pop("step"))
    elif pending:
        pending.setdefault("epoch", trainer.current_epoch)
    row = log.row_with(pending, step)
    metrics = {name: float(value) for name, value in trainer.logged_metrics.items()}
    return {"metrics": metrics, "row": row if len(row) > 1 else {}, "before": log.rows_before(step)}
