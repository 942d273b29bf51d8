"""The table that ``fit --seeds`` ends with, and the line of each seed before it."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from mcubench.console import say
from mcubench.results.comparison.rows import Mean
from mcubench.results.run_folder import shown
from mcubench.results.several_seeds import SeedScores, SeveralSeeds

__all__ = ["print_seeds", "seed_line"]

_SCORES = ("val_accuracy", "val_macro_f1", "test_accuracy", "test_macro_f1")


def seed_line(row: SeedScores) -> str:
    """What is said of a seed when its run is done."""
    return (
        f"seed {row.seed}: validation accuracy {_percentage(row.val_accuracy)}, test {_percentage(row.test_accuracy)}"
    )


def print_seeds(result: SeveralSeeds, folder: Path, console: Console) -> None:
    """Prints the seeds, mean and interval of their scores, and how they were trained.

    Args:
        result: The seeds.
        folder: The folder that holds their run folders.
        console: Where to print.
    """
    where = "" if result.data is None else f" on {result.data}"
    table = Table(title=f"{result.model}{where}, {len(result.seeds)} seeds", title_style="bold", box=box.SIMPLE)
    for heading in ("seed", "val acc.", "val F1", "test acc.", "test F1", "epochs", "scored"):
        table.add_column(heading, justify="left" if heading == "seed" else "right")
    for row in result.seeds:
        table.add_row(
            str(row.seed),
            *(_percentage(getattr(row, score)) for score in _SCORES),
            str(row.epochs),
            "last" if row.chosen_epoch is None else str(row.chosen_epoch),
            end_section=row is result.seeds[-1],
        )
    means = [result.mean(score) for score in _SCORES]
    table.add_row("mean", *("?" if mean is None else _percentage(mean.value) for mean in means), "", "", style="bold")
    table.add_row("95 %", *map(_half_width, means), "", "", style="bold")
    console.print(table)
    for line in (
        f"{result.trained}; {result.seconds:.1f} s",
        f"scores in {_forms(result)}; compare has those that the price belongs to",
        "±: half the 95 % interval of the mean over seeds, by Student's t: other seeds, the same samples",
    ):
        say(console, line, style="")
    for note in result.notes:
        say(console, f"note: {note}", "yellow")
    say(console, f"saved in {shown(folder)}; compare it: python -m mcubench compare {shown(folder)}", style="")


def _half_width(mean: Mean | None) -> str:
    return "?" if mean is None or mean.half_width is None else f"±{100 * mean.half_width:.2f}"


def _percentage(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.2f} %"


def _forms(result: SeveralSeeds) -> str:
    return ", ".join(sorted({row.form for row in result.seeds}))
