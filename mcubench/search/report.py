"""What a study has found: the front and the best others, all trials as a file, and two pictures."""

from __future__ import annotations

import csv
import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from mcubench.console import say, say_command
from mcubench.files import atomic_path
from mcubench.results.comparison.rows import Mean
from mcubench.results.run_folder import shown
from mcubench.search.budget import Budget
from mcubench.search.plan import Plan
from mcubench.search.plots import plot_importances, plot_trials
from mcubench.search.study import TRAINED, TrialRow

__all__ = ["SCHEMA_VERSION", "Confirmed", "Report"]

SCHEMA_VERSION = 1
_BESIDE_FRONT = 5  # rows of the table that others beat
_COSTS = ("flash", "ram", "macs")
_CONFIRMED = ("val, other seeds [%]", "test, other seeds [%]", "gap [points]")


@dataclass(frozen=True)
class Confirmed:
    """Scores of one model over several seeds, none of which chose it.

    Attributes:
        validation: Mean and 95 % interval.
        test: Likewise.
        gap: Of validation minus test, seed by seed.
    """

    validation: Mean
    test: Mean
    gap: Mean

    def as_dict(self) -> dict[str, dict[str, float | None]]:
        """What files have of it."""
        return {name: mean.as_dict() for name, mean in vars(self).items()}


@dataclass(frozen=True)
class Report:
    """A study, when all has been trained.

    Attributes:
        objectives: What was searched for.
        budget: What a model may cost.
        plan: What was varied.
        rows: All trials.
        front: Those that no other one beats.
        confirmed: Of these, by number, what other seeds say.
        seeds: How many other seeds.
        importances: The share of each option in what the accuracy varies by.
    """

    objectives: Sequence[str]
    budget: Budget
    plan: Plan
    rows: Sequence[TrialRow]
    front: Sequence[TrialRow]
    confirmed: Mapping[int, Confirmed]
    seeds: int
    importances: Mapping[str, float]

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended how."""
        return {name: sum(row.outcome == name for row in self.rows) for name in (*TRAINED, "rejected", "repeated")}

    def save(self, folder: Path) -> None:
        """Writes ``search.json``, ``trials.csv``, ``trials.png`` and, where it is known, ``importance.png``."""
        with atomic_path(folder / "search.json") as temporary:
            temporary.write_text(json.dumps(self._as_dict(), indent=2), "utf-8")
        with atomic_path(folder / "trials.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(
                ["trial", "outcome", "model", "val_accuracy", "flash_bytes", "ram_bytes", "macs", "fits", "reason"]
            )
            for row in self.rows:
                model, costs = self.plan.chosen(row.params), map(row.value, _COSTS)
                writer.writerow([row.number, row.outcome, model, row.accuracy, *costs, row.fits, row.reason])
        plot_trials(self.rows, self.front, self.budget, folder / "trials.png")
        if self.importances:
            plot_importances(self.importances, folder / "importance.png")

    def _as_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "objectives": list(self.objectives),
            "budget": self.budget.as_dict(),
            "trials": self.counts,
            "front": [
                {
                    "trial": row.number,
                    "model": str(self.plan.chosen(row.params)),
                    "val_accuracy": row.accuracy,
                    **{name: row.value(name) for name in _COSTS},
                    "confirmed": None if (found := self.confirmed.get(row.number)) is None else found.as_dict(),
                }
                for row in self.front
            ],
            "confirm_seeds": self.seeds,
            "importances": dict(self.importances),
        }

    def show(self, folder: Path, console: Console) -> None:
        """Prints the front and the best models beside it, how many were tried, and where all that lies."""
        console.print(self._table())
        counts = self.counts
        tried = counts["trained"] + counts["pruned"]
        early = f", {counts['pruned']} of them given up early" if counts["pruned"] else ""
        failed = f"; {counts['failed']} failed" if counts["failed"] else ""
        for line in (
            f"{tried} models were trained{early}; {counts['rejected']:,} were rejected by their price{failed}",
            "*: on the front, +: given up early; accuracies are of validation, the best of many is too good to be true",
        ):
            say(console, line)
        if self.confirmed:
            say(console, f"other seeds: {self.seeds} of them; ± is half the 95 % interval of the mean, by Student's t")
            say(console, "the test set was scored for models on the front only")
        for row in self.front:
            candidate = self.plan.chosen(row.params)
            say(console, f"trial {row.number}: {candidate}")
            say_command(console, shlex.join(["python", "-m", "mcubench", "fit", *candidate.words(self.plan.words)]))
        for each in ("trials.csv", "trials.png", "search.json"):
            say(console, f"wrote {shown(folder / each)}")

    def _table(self) -> Table:
        table = Table(title="search", title_style="bold", box=box.SIMPLE)
        for heading in ("trial", "val [%]", "flash [B]", "RAM [B]", "MACs", *(_CONFIRMED if self.confirmed else ())):
            table.add_column(heading, justify="right")
        best = sorted(
            (row for row in self.rows if row.fits and row.accuracy is not None),
            key=lambda row: -(row.accuracy or 0.0),
        )
        on_front = {row.number for row in self.front}
        others = [row for row in best if row.number not in on_front][:_BESIDE_FRONT]
        for row in sorted([*self.front, *others], key=lambda row: -(row.accuracy or 0.0)):
            found = self.confirmed.get(row.number)
            table.add_row(
                f"{_mark(row, on_front)}{row.number}",
                f"{100 * (row.accuracy or 0.0):.2f}",
                *("?" if value is None else f"{value:,}" for value in map(row.value, _COSTS)),
                *(("", "", "") if found is None else map(_percent, (found.validation, found.test, found.gap))),
            )
        return table


def _mark(row: TrialRow, on_front: Collection[int]) -> str:
    return "* " if row.number in on_front else "+ " if row.outcome == "pruned" else ""


def _percent(mean: Mean) -> str:
    half = "" if mean.half_width is None else f" ±{100 * mean.half_width:.2f}"
    return f"{100 * mean.value:.2f}{half}"
