"""``metrics.csv``: one row a step, whole at any moment, continued on resume."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcubench._compat import mend_torchvision
from mcubench.files import atomic_path
from mcubench.results.experiment import Experiment

mend_torchvision()  # which the imports of lightning need

from lightning.fabric.loggers.logger import rank_zero_experiment  # noqa: E402
from lightning.pytorch.loggers.logger import Logger  # noqa: E402
from lightning.pytorch.utilities import rank_zero_only  # noqa: E402

__all__ = ["MetricsLog", "read_metrics"]

_COLUMN_TYPES: dict[str, Callable[..., float]] = {"step": int, "epoch": int}


class MetricsLog(Logger):
    """Logs metrics to ``metrics.csv`` in a run's folder.

    Lightning's own CSVLogger deletes the file when a run is resumed in its folder, and puts the metrics of one step
    in several rows. This one keeps the rows up to the step that is resumed from.

    Args:
        root: The folder that holds all runs.
        run: Name of this run's folder.

    Attributes:
        beside: Loggers of the user's: the first is what a module finds behind ``self.logger.experiment``.
    """

    def __init__(self, root: Path, run: str) -> None:
        super().__init__()
        self.beside: Sequence[Logger] = ()
        self._experiment = Experiment(self.log_metrics)
        self._root = root.resolve()
        self._run = run
        self._rows: dict[int, dict[str, float]] = {}

    @property
    def name(self) -> str:
        """Empty: runs are not nested by experiment."""
        return ""

    @property
    def version(self) -> str:
        """The name of the run's folder."""
        return self._run

    @property
    def save_dir(self) -> str:
        """The folder that holds all runs."""
        return str(self._root)

    @property
    def log_dir(self) -> str:
        """The run's folder."""
        return str(self._root / self._run)

    @property
    def path(self) -> Path:
        """The file."""
        return self._root / self._run / "metrics.csv"

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """What modules log to by themselves: the user's tracker, or one that keeps the numbers."""
        return self.beside[0].experiment if self.beside else self._experiment  # type: ignore[attr-defined]

    def resume_at(self, step: int) -> None:
        """Takes over the rows of the run so far, up to the optimiser step `step` (excluded: rows count from 0)."""
        self._rows = {int(row["step"]): row for row in read_metrics(self.path) if row["step"] < step}

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds metrics to the row of `step`, but for the costs: they do not change, and stand in ``result.json``."""
        metrics = {key: value for key, value in metrics.items() if not key.startswith("cost/")}
        if not metrics:
            return
        number = max(self._rows, default=-1) + 1 if step is None else step
        row = self._rows.setdefault(number, {"step": number})
        row.update({key: _COLUMN_TYPES.get(key, float)(value) for key, value in metrics.items()})

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: config.yaml holds them."""

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def save(self) -> None:
        """Writes the file."""
        if not self._rows:
            return
        columns = dict.fromkeys(key for row in self._rows.values() for key in row)
        ordered = ["step", "epoch", *sorted(columns.keys() - {"step", "epoch"})]
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, ordered)
            writer.writeheader()
            writer.writerows(self._rows[step] for step in sorted(self._rows))

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def finalize(self, status: str) -> None:
        """Writes the file."""
        self.save()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a ``metrics.csv`` in order, without their empty cells; none if there is no such file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        return [{key: _COLUMN_TYPES.get(key, float)(value) for key, value in row.items() if value} for row in rows]
