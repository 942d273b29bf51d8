"""The table of what features cost, for people."""

from __future__ import annotations

from dataclasses import asdict

from rich import box
from rich.console import Console
from rich.table import Table

from mcubench.console import say, wide
from mcubench.cost.units import bytes_text
from mcubench.features import FeatureCost, Operations

__all__ = ["print_features"]


def print_features(cost: FeatureCost, model_macs: int | None, console: Console) -> None:
    """Prints what features cost: a row a stage, totals beside the model's, and what the figures mean.

    Args:
        cost: The cost of the features.
        model_macs: MACs of the model that takes them; ``None`` if they are not known.
        console: Where to print.
    """
    console = wide(console)
    total, memory = cost.operations, cost.memory
    table = Table(
        title=f"{cost.features} features of one window, before the model",
        title_style="bold",
        show_footer=True,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("stage", "total", no_wrap=True)
    for heading, footer in zip(("MACs", "×", "+ -", "compare", "÷ √ acos"), _cells(total), strict=True):
        table.add_column(heading, footer, justify="right", no_wrap=True)
    for stage in cost.stages:
        table.add_row(stage.name, *_cells(stage.operations))
    console.print(table)
    beside = "" if model_macs is None else f", beside the model's {model_macs:,} MACs"
    say(console, f"features: {total.macs:,} MACs and {total.other:,} other operations{beside}", style="bold")
    parts = ", ".join(f"{name} {size:,}" for name, size in asdict(memory).items())
    say(console, f"RAM of features: {bytes_text(memory.total)} ({parts} B)", style="bold")
    if cost.copies:
        say(console, f"{len(cost.copies)} of the features are copies of others: {_copies(cost.copies)}", style="yellow")
    for line in cost.conventions():
        say(console, line, style="dim")


def _cells(operations: Operations) -> list[str]:
    rare = operations.divisions + operations.roots + operations.arccosines
    counts = (operations.macs, operations.multiplications, operations.additions, operations.comparisons, rare)
    return [f"{count:,}" if count else "" for count in counts]


def _copies(copies: dict[str, str], shown: int = 3) -> str:
    named = [f"{copy} of {source}" for copy, source in copies.items()]
    return ", ".join(named[:shown]) + (f" and {len(named) - shown} more" if len(named) > shown else "")
