"""A study as pictures: accuracy over flash with the front, and how much each option matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from mcubench.cost import bytes_text
from mcubench.files import atomic_path
from mcubench.search.budget import Budget
from mcubench.search.study import TrialRow

__all__ = ["plot_importances", "plot_trials"]

_DPI = 120


def plot_trials(rows: Sequence[TrialRow], front: Sequence[TrialRow], budget: Budget, target: Path) -> None:
    """Draws validation accuracy over flash: trained models, those given up early, and the best for each size.

    Args:
        rows: All trials.
        front: Those on the front.
        budget: Whose limit of flash is drawn.
        target: The PNG to write.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    kinds: dict[str, tuple[Sequence[TrialRow], dict[str, Any]]] = {
        "given up early": ([row for row in rows if row.outcome == "pruned"], {"marker": "x", "c": "0.6", "s": 26}),
        "trained": ([row for row in rows if row.outcome == "trained"], {"marker": "o", "c": "C0", "s": 26}),
        "front": (front, {"marker": "D", "c": "C3", "s": 26}),
    }
    for name, (some, style) in kinds.items():
        points = [
            (row.price.flash, 100 * row.accuracy) for row in some if row.price and row.price.flash and row.accuracy
        ]
        if points:
            axes.scatter(*zip(*points, strict=True), label=f"{name} ({len(points)})", **style)
    if steps := _best_by_size(rows):
        axes.step(*zip(*steps, strict=True), where="post", color="C0", linewidth=1, label="best of its size")
    if budget.flash is not None:
        axes.axvline(budget.flash, color="0.3", linestyle=":", label=f"budget, {bytes_text(budget.flash)}")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: bytes_text(round(value))))
    axes.set_xlabel("flash of weights")
    axes.set_ylabel("validation accuracy [%]")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")


def _best_by_size(rows: Sequence[TrialRow]) -> list[tuple[int, float]]:
    """The corners of the line that no model lies above and left of."""
    known = [
        (row.price.flash, row.accuracy)
        for row in rows
        if row.outcome == "trained" and row.price and row.price.flash and row.accuracy
    ]
    found: list[tuple[int, float]] = []
    for flash, accuracy in sorted(known, key=lambda each: (each[0], -each[1])):
        if not found or 100 * accuracy > found[-1][1]:
            found.append((flash, 100 * accuracy))
    return found


def plot_importances(importances: Mapping[str, float], target: Path) -> None:
    """Draws how much each option matters, as bars.

    Args:
        importances: Shares by option.
        target: The PNG to write.
    """
    names = sorted(importances, key=lambda name: importances[name])
    figure = Figure(figsize=(7, 1 + 0.35 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    bars = axes.barh(names, [100 * importances[name] for name in names], color="C0")
    axes.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=8)
    axes.set_xlabel("share of what validation accuracy varies by [%] (PED-ANOVA)")
    axes.margins(x=0.12)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
