"""``metrics.csv``: one row a step, whole at any moment, continued on resume."""

from __future__ import annotations

import csv
import io
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcubench._compat import mend_torchvision
from mcubench.errors import CorruptDataError, UnreadableError
from mcubench.files import atomic_path
from mcubench.reading import opened
from mcubench.results.experiment import Experiment
from mcubench.schema import MOST

mend_torchvision()  # which the imports of lightning need

from lightning.fabric.loggers.logger import rank_zero_experiment  # noqa: E402
from lightning.pytorch.loggers.logger import Logger  # noqa: E402
from lightning.pytorch.utilities import rank_zero_only  # noqa: E402

__all__ = ["MetricsLog", "read_metrics"]

_COUNTED = ("step", "epoch")


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
        row.update({key: int(value) if key in _COUNTED else float(value) for key, value in metrics.items()})

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
    """Reads a ``metrics.csv``.

    Args:
        path: The file.

    Returns:
        Its rows in order, without their empty cells; none if there is no such file.

    Raises:
        UnreadableError: If it can't be read.
        CorruptDataError: If it is damaged; the line and the column are named.
    """
    try:
        with opened(path) as file:
            content = file.read().decode("utf-8")
        if not content.endswith("\n"):
            raise ValueError("its last line is cut, or it has none")
        rows = csv.DictReader(io.StringIO(content, newline=""), strict=True)
        columns = rows.fieldnames or []
        if "step" not in columns or len(set(columns)) < len(columns):
            raise ValueError("line 1 has no column step, or has a column twice")
        return [_numbers(row, f"line {rows.line_num}") for row in rows]
    except FileNotFoundError:
        return []
    except UnreadableError:
        raise
    except (ValueError, csv.Error) as error:
        raise CorruptDataError(f"{path} is damaged: {error}; restore it, or move it away to go on without it") from None


def _numbers(row: Mapping[str | Any, Any], line: str) -> dict[str, float]:
    """The numbers of a line, by column."""
    if None in row or None in row.values():
        raise ValueError(f"{line} has {'more' if None in row else 'fewer'} values than line 1 has columns")
    found: dict[str, float] = {}
    for name, value in row.items():
        if not value and name != "step":
            continue
        counts = name in _COUNTED
        try:
            found[name] = int(value) if counts else float(value)
        except ValueError:
            raise ValueError(f"{line}, {name}: {value[:40]!r} is no {'whole ' if counts else ''}number") from None
        if counts and not 0 <= found[name] <= MOST:
            raise ValueError(f"{line}, {name}: {value[:40]} is no count")
    return found
