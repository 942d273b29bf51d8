"""The table that cross-validation ends with, and the line of each fold before it."""

from __future__ import annotations

from dataclasses import astuple, fields
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from mcubench.console import say
from mcubench.results.cross_validation import CrossValidation, FoldScores, Spread
from mcubench.results.run_folder import shown

__all__ = ["fold_line", "print_folds"]

_SCORES = ("val_accuracy", "val_macro_f1", "test_accuracy")
_SPREAD = {"mean": "mean", "std": "std. dev.", "min": "lowest", "max": "highest"}


def fold_line(row: FoldScores, folds: int) -> str:
    """What is said of a fold when it is done."""
    who = f" (subject{'s' * (len(row.val_subjects) > 1)} {_subjects(row)})" if row.val_subjects else ""
    return (
        f"fold {row.fold}, {row.fold + 1} of {folds}{who}: validation accuracy {_percentage(row.val_accuracy)}, "
        f"macro-F1 {_percentage(row.val_macro_f1)}; {row.seconds:.1f} s"
    )


def print_folds(result: CrossValidation, folder: Path, console: Console) -> None:
    """Prints the folds, mean and spread of their scores, and what these do and do not say.

    Args:
        result: The folds.
        folder: The folder that holds their run folders.
        console: Where to print.
    """
    how = "by subject" if result.by_subject else result.split["kind"] if result.split else "its own split"
    title = f"{result.model} on {result.data}, {len(result.folds)} folds ({how}): validation"
    table = Table(title=title, title_style="bold", box=box.SIMPLE, padding=0)  # narrow: there may be many subjects
    table.add_column("fold")
    if result.by_subject:
        table.add_column("subjects")
    for heading in ("samples", "accuracy", "macro-F1", "test acc.", "epochs", "seconds"):
        table.add_column(heading, justify="right")
    for row in result.folds:
        table.add_row(
            str(row.fold),
            *([_subjects(row)] if result.by_subject else []),
            "?" if row.val_samples is None else f"{row.val_samples:,}",
            *(_percentage(getattr(row, score)) for score in _SCORES),
            str(row.epochs),
            f"{row.seconds:.1f}",
            end_section=row is result.folds[-1],
        )
    spreads = [result.spread(score) for score in _SCORES]
    columns = [["?"] * len(fields(Spread)) if spread is None else _cells(spread) for spread in spreads]
    for heading, *cells in zip(_SPREAD.values(), *columns, strict=True):
        table.add_row(heading, *([""] if result.by_subject else []), "", *cells, style="bold")
    console.print(table)
    for line in _explained(result):
        console.print(line, markup=False, highlight=False)
    for note in result.notes:
        say(console, f"note: {note}", "yellow")
    say(console, f"saved in {shown(folder)}")


def _cells(spread: Spread) -> list[str]:
    cells = [_percentage(value) for value in astuple(spread)]
    cells[1] = f"{100 * spread.std:.2f} pt"
    return cells


def _explained(result: CrossValidation) -> list[str]:
    """What the figures mean."""
    lines = [f"scores in {', '.join(sorted({row.form for row in result.folds}))}"]
    if (pooled := result.pooled_accuracy) is not None:
        samples = sum(row.val_samples or 0 for row in result.folds)
        lines.append(f"pooled: {_percentage(pooled)} of {samples:,} samples are right, each validated once")
    alone = all(len(row.val_subjects or []) == 1 for row in result.folds)
    between = "from subject to subject" if alone else "from fold to fold"
    lines.append(
        f"The standard deviation (n - 1) says how scores vary {between}. It gives no confidence interval of the mean, "
        "for folds share training samples (Bengio and Grandvalet 2004)."
    )
    lines.append(
        "Validation is what cross-validation estimates; the test set is the same for all folds, and chooses nothing."
    )
    monitors = sorted({row.chosen_by for row in result.folds if row.chosen_by})
    if any(name.startswith("val") for name in monitors):
        lines.append(
            f"Each fold scores its best epoch by {', '.join(monitors)}: chosen and scored on the same samples, "
            "validation is flattered. --trainer.enable_checkpointing false scores the last epoch."
        )
    return lines


def _subjects(row: FoldScores) -> str:
    return ", ".join(map(str, row.val_subjects or []))


def _percentage(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.2f} %"
