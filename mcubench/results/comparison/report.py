"""Everything that is done with a comparison: printed, and written to files."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from mcubench.console import say
from mcubench.errors import UserError
from mcubench.results.comparison.rows import Comparison
from mcubench.results.comparison.table import print_tables
from mcubench.results.comparison.writing import save_csv, save_markdown
from mcubench.results.run_folder import shown

__all__ = ["print_comparison", "report_comparison", "save_comparison"]


def report_comparison(comparison: Comparison, stem: str | Path, console: Console) -> None:
    """Prints a comparison and writes all its files: ``STEM.csv``, ``STEM.md``, ``STEM.png`` and ``STEM.svg``.

    Args:
        comparison: What `compare_runs` found.
        stem: Where the files go, and what their names begin with; with several data sets each has pictures of its own,
            as in ``STEM-MNIST.png``.
        console: Where to print.

    Raises:
        UserError: If a file can't be written.
    """
    print_comparison(comparison, console)
    save_comparison(comparison, console, csv=Path(f"{stem}.csv"), markdown=Path(f"{stem}.md"), plot=str(stem))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the tables, their legend and the notes."""
    print_tables(comparison, console)
    for note in comparison.notes:
        say(console, f"note: {note}", style="yellow")


def save_comparison(
    comparison: Comparison,
    console: Console,
    csv: Path | None = None,
    markdown: Path | None = None,
    plot: str | None = None,
) -> None:
    """Writes the files that are asked for, and says so.

    Args:
        comparison: What is written.
        console: Where to say it.
        csv: The file for all figures, a row each.
        markdown: The file for the table.
        plot: What the pictures' names begin with, folders included.

    Raises:
        UserError: If a file can't be written.
    """
    if csv is not None:
        with _writing([csv], console):
            save_csv(comparison, csv)
    if markdown is not None:
        with _writing([markdown], console):
            save_markdown(comparison, markdown)
    if plot is not None:
        _save_pictures(comparison, plot, console)


def _save_pictures(comparison: Comparison, stem: str, console: Console) -> None:
    from mcubench.results.comparison.plot import can_be_drawn, plot_pareto  # matplotlib takes its time to import

    taken: set[str] = set()
    for data, rows in comparison.by_data.items():
        if not can_be_drawn(rows):
            say(console, f"note: nothing to draw of {data}: no row knows accuracy and a cost", style="yellow")
            continue
        name = stem if len(comparison.by_data) == 1 else "-".join([stem, *re.findall(r"\w+", data)])
        name = name if name not in taken else f"{name}-{len(taken)}"
        taken.add(name)
        targets = [Path(f"{name}.png"), Path(f"{name}.svg")]
        with _writing(targets, console):
            plot_pareto(data, rows, targets)


@contextlib.contextmanager
def _writing(targets: Sequence[Path], console: Console) -> Iterator[None]:
    """Says what the block wrote, or why it could not."""
    names = " and ".join(map(shown, targets))
    try:
        yield
    except OSError as error:
        raise UserError(f"{names} can't be written: {error.strerror or error}") from error
    say(console, f"wrote {names}")
