"""A comparison for the terminal: one table a data set, one line a row, as many columns as there is room for."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mcubench.console import say
from mcubench.results.comparison.columns import LEFT, columns, legend
from mcubench.results.comparison.rows import Comparison, Range, Row

__all__ = ["print_tables"]

# Columns that a narrow terminal leaves out, first ones first.
_UNPRESSING = ("params", "val [%]", "F1 [%]", "fit [s]", "float [%]", "RAM [B]", "features MACs", "seeds")
# Characters that models' names have before other columns are left out for them: their longest word's, within limits.
_NAMES = (24, 32)
_MARK = "*"
_MOST = "≤"


def print_tables(comparison: Comparison, console: Console) -> None:
    """Prints a comparison, with a legend; all tables have the same columns.

    Args:
        comparison: What is printed.
        console: Where to; its width decides about columns.
    """
    names = max(len(word) for row in comparison.rows for word in row.model.split())
    names = min(max(names, _NAMES[0]), _NAMES[1])
    for count in range(len(_UNPRESSING) + 1):
        missing = _UNPRESSING[:count]
        spare = console.width - _width(comparison, missing, names, console)
        if spare >= 0:
            break
    for data, rows in comparison.by_data.items():
        console.print(_table(comparison, data, rows, missing, names + max(0, spare)))
    for line in legend(comparison, _MARK):
        say(console, line, style="dim")
    if any(_MOST in text(row) for text in columns(comparison, _cost, str).values() for row in comparison.rows):
        say(console, f"{_MOST}: varies by seed; the highest", style="dim")
    if left_out := [heading for heading in columns(comparison, _cost, str) if heading in missing]:
        say(
            console,
            f"no room for {', '.join(left_out)}: the files that --csv and --markdown write have all",
            style="dim",
        )


def _width(comparison: Comparison, missing: Sequence[str], room: int, console: Console) -> int:
    """Characters that the widest table takes where names break at `room`."""
    tables = (_table(comparison, data, rows, missing, room) for data, rows in comparison.by_data.items())
    options = console.options.update(width=10_000)
    return max(Measurement.get(console, options, table).maximum for table in tables)


def _table(comparison: Comparison, data: str, rows: Sequence[Row], missing: Sequence[str], room: int) -> Table:
    shown = columns(comparison, _cost, lambda text: f"{_MARK}{text}")
    table = Table(title=Text(data), title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in shown:
        if heading == LEFT:
            table.add_column(Text(heading), overflow="fold", max_width=room)
        elif heading not in missing:
            table.add_column(Text(heading), justify="right", no_wrap=True)
    for row in rows:
        texts = (text(row) for heading, text in shown.items() if heading not in missing)
        table.add_row(*(Text(text, style="bold" if text.startswith(_MARK) else "") for text in texts))
    return table


def _cost(found: Range) -> str:
    """The highest of what the runs of a row cost: there is no room for both ends."""
    return f"{'' if found.low == found.high else _MOST}{_rounded(found.high)}"


def _rounded(count: int) -> str:
    """A count for a narrow column: exact below a million, else three digits of millions or more."""
    return f"{count:,}" if count < 1_000_000 else f"{count / 1e6:,.{max(0, 3 - len(str(count // 1_000_000)))}f}M"
