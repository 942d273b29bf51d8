"""What all tables for people have in common."""

from __future__ import annotations

from rich.console import Console

__all__ = ["WIDE", "say", "wide"]

WIDE = 110  # characters, from which on a table by layer has room for all it has to show


def wide(console: Console) -> Console:
    """The console; a wider one where it is a file, which has no edge."""
    return console if console.is_terminal or console.width >= WIDE else Console(file=console.file, width=WIDE)


def say(console: Console, line: str, style: str) -> None:
    """Prints a line as it is: names of modules may look like markup."""
    console.print(line, style=style, markup=False, emoji=False, highlight=False, soft_wrap=True)
