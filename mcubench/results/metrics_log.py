"""``metrics.csv``: one row a step, appended as steps are logged, continued on resume."""

from __future__ import annotations

import csv
import io
import zlib
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
_MEND = "restore it, or move it away to go on without it"


class MetricsLog(Logger):
    """Logs metrics to ``metrics.csv`` in a run's folder.

    Lightning's own CSVLogger deletes the file when a run is resumed in its folder, and puts the metrics of one step
    in several rows. This one keeps the rows up to the step that is resumed from. What a step logs is appended, or takes
    the place of the last row if that is of the same step; the file is written anew, and replaced as a whole, where a
    metric comes that has no column yet.

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
        self._changed: set[int] = set()
        self._table: _Table | None = None  # as this process has left it

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

    def resume_at(self, step: int, known: Mapping[str, int] | None = None) -> None:
        """Takes over the rows of the run so far, up to the optimiser step `step` (excluded: rows count from 0).

        Args:
            step: The step that is resumed from.
            known: What a checkpoint knows of them: `rows_before` of the step that it says. A run whose file was moved
                away goes on without.

        Raises:
            UnreadableError: If the file can't be read.
            CorruptDataError: If it is damaged, or its rows are not those that the checkpoint knows of.
        """
        self._rows = {int(row["step"]): row for row in read_metrics(self.path) if row["step"] < step}
        self._changed, self._table = set(self._rows), None
        if known and self.path.exists() and self.rows_before(known["step"]) != dict(known):
            raise CorruptDataError(
                f"{self.path} is damaged: its rows before step {known['step']} are not the {known['rows']:,} that were "
                f"logged; {_MEND}"
            )

    def rows_before(self, step: int) -> dict[str, int]:
        """That step, the number of rows before it, and the CRC-32 of what is in them."""
        rows = [sorted(row.items()) for number, row in sorted(self._rows.items()) if number < step]
        return {"step": step, "rows": len(rows), "crc32": zlib.crc32(repr(rows).encode())}

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds metrics to the row of `step`, but for the costs: they do not change, and stand in ``result.json``."""
        number = next(reversed(self._rows), -1) + 1 if step is None else step
        row = self.row_with(metrics, number)
        if len(row) > 1:
            self._rows[number] = row
            self._changed.add(number)

    def row_with(self, metrics: Mapping[str, float], step: int) -> dict[str, float]:
        """The row of `step`, as it would be with more metrics."""
        own = self.own(metrics).items()
        values = {key: int(value) if key in _COUNTED else float(value) for key, value in own}
        return {"step": step, **self._rows.get(step, {}), **values}

    def own(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the metrics that belong into the file."""
        return {key: value for key, value in metrics.items() if not key.startswith("cost/")}

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Does nothing: config.yaml holds them."""

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def save(self) -> None:
        """Brings the file up to date."""
        if not self._changed:
            return
        changed = [self._rows[step] for step in sorted(self._changed)]
        if self._table is None or not self._table.take(changed):
            self._rows = dict(sorted(self._rows.items()))
            self._table = _Table.write(self.path, list(self._rows.values()))
        self._changed.clear()

    @rank_zero_only  # type: ignore[untyped-decorator,unused-ignore]
    def finalize(self, status: str) -> None:
        """Brings the file up to date."""
        self.save()


class _Table:
    """The file on the disk: its columns, and where its last row stands."""

    def __init__(self, path: Path, columns: Sequence[str], last_step: float, last_row: int, end: int) -> None:
        self._path, self._columns = path, columns
        self._last_step, self._last_row, self._end = last_step, last_row, end

    @classmethod
    def write(cls, path: Path, rows: Sequence[Mapping[str, float]]) -> _Table:
        """Writes a new one, from rows in order."""
        columns = dict.fromkeys(key for row in rows for key in row)
        ordered = ["step", "epoch", *sorted(columns.keys() - {"step", "epoch"})]
        head, last = _lines(ordered, [dict(zip(ordered, ordered, strict=True)), *rows[:-1]]), _lines(ordered, rows[-1:])
        with atomic_path(path) as temporary:
            temporary.write_bytes(head + last)
        return cls(path, ordered, rows[-1]["step"], len(head), len(head + last))

    def take(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Appends rows, in order, if they can stand at the end; the first may be a new version of the last row."""
        first, columns = rows[0]["step"], set(self._columns)
        if first < self._last_step or any(row.keys() - columns for row in rows):
            return False
        start = self._last_row if first == self._last_step else self._end
        body, last = _lines(self._columns, rows[:-1]), _lines(self._columns, rows[-1:])
        if not self._path.is_file() or self._path.stat().st_size != self._end:  # somebody else has changed it
            return False
        with self._path.open("r+b", buffering=0) as file:
            file.seek(start)
            before = file.read()
            try:
                _replace_tail(file, start, body + last)
            except OSError:  # the disk is full
                _replace_tail(file, start, before)
                raise
        self._last_step, self._last_row = rows[-1]["step"], start + len(body)
        self._end = self._last_row + len(last)
        return True


def _replace_tail(file: io.FileIO, start: int, text: bytes) -> None:
    file.seek(start)
    while text:
        text = text[file.write(text) :]
    file.truncate()


def _lines(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue().encode()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Reads a ``metrics.csv``.

    Args:
        path: The file.

    Returns:
        Its rows in order, without their empty cells; none if there is no such file. A last line without an end is
        left out: a process was killed while it was written.

    Raises:
        UnreadableError: If it can't be read.
        CorruptDataError: If it is damaged; the line and the column are named.
    """
    try:
        with opened(path) as file:
            whole, end, _ = file.read().rpartition(b"\n")
        content = (whole + end).decode("utf-8")
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
        raise CorruptDataError(f"{path} is damaged: {error}; {_MEND}") from None


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
