"""The bar of what trains many models."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn

__all__ = ["bar_below"]


def bar_below(console: Console, *columns: ProgressColumn) -> Progress:
    """A bar below the lines, where somebody looks, and how many are done.

    Args:
        console: Where to print.
        columns: What stands behind.
    """
    return Progress(
        BarColumn(20), MofNCompleteColumn(), *columns, console=console, transient=True, disable=not console.is_terminal
    )
