"""What all tables for people have in common."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

__all__ = ["WIDE", "narrowed", "say", "say_command", "wide"]

WIDE = 110  # characters, from which on a table by layer has room for all it has to show


def wide(console: Console) -> Console:
    """The console; a wider one where it is a file, which has no edge."""
    return console if console.is_terminal or console.width >= WIDE else Console(file=console.file, width=WIDE)


def narrowed(table: Table, console: Console, *headings: str) -> Table:
    """Leaves columns out while a table is wider than its console, so that no word of the others is cut.

    Args:
        table: The table; it is changed.
        console: Where it will be printed.
        headings: Of the columns that may be left out, in this order.
    """
    for heading in headings:
        if Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width:
            break
        table.columns = [column for column in table.columns if column.header != heading]
        for index, column in enumerate(table.columns):
            column._index = index
    return table


def say(console: Console, line: str, style: str = "none") -> None:
    """Prints a line as it is: names of modules may look like markup. A terminal gets it wrapped between words."""
    soft = not console.is_terminal
    console.print(line, style=style, markup=False, emoji=False, highlight=False, soft_wrap=soft)


def say_command(console: Console, command: str) -> None:
    """Prints a command to copy: where a terminal has no room for it, it goes on below, as shells read it."""
    if not console.is_terminal or len(command) + 2 <= console.width:
        say(console, f"  {command}")
        return
    words, _, remark = command.partition("    #")
    room = max(console.width - 6, 20)
    lines = textwrap.wrap(words, room, break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines):
        goes_on = " \\" if number + 1 < len(lines) else ""
        say(console, f"  {'  ' if number else ''}{line}{goes_on}")
    if remark:
        say(console, f"    #{remark}")
