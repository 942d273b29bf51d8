"""Learning curves and confusion matrix as PNG, drawn without a display."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mcubench.files import atomic_path
from mcubench.results.cross_validation import CrossValidation

__all__ = ["plot_confusion", "plot_curves", "plot_folds"]

_DPI = 120
_NAMES = {"train": ("training", "tab:blue"), "val": ("validation", "tab:orange")}


def plot_curves(rows: Sequence[dict[str, float]], target: Path) -> bool:
    """Draws loss and accuracy over epochs, training beside validation.

    Args:
        rows: The rows of ``metrics.csv``.
        target: The PNG to write.

    Returns:
        Whether there was anything to draw: a foreign module may log none of these.
    """
    curves = {
        (quantity, part): [(row["epoch"] + 1, row[f"{part}/{quantity}"]) for row in rows if f"{part}/{quantity}" in row]
        for quantity in ("loss", "accuracy")
        for part in _NAMES
    }
    if not any(curves.values()):
        return False
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for part, (label, colour) in _NAMES.items():
            if points := curves[quantity, part]:
                axes.plot(*zip(*points, strict=True), label=label, color=colour, marker="o", markersize=3)
        axes.set_xlabel("epoch")
        axes.set_title(quantity)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, target)
    return True


def plot_confusion(confusion: NDArray[np.int64], class_names: Sequence[str], title: str, target: Path) -> None:
    """Draws a confusion matrix: shares of each true class as colour, counts as numbers.

    Args:
        confusion: Counts, shape (classes, classes), rows are the true classes.
        class_names: Names in order.
        title: What is shown.
        target: The PNG to write.
    """
    count = len(class_names)
    shares = confusion / confusion.sum(1, keepdims=True).clip(min=1)
    side = 2.5 + 0.45 * count
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(count):
        for column in range(count):
            if number := int(confusion[row, column]):
                colour = "white" if shares[row, column] > 0.5 else "black"
                cell = axes.text(column, row, str(number), ha="center", va="center", color=colour, fontsize=7)
                cell.set_in_layout(False)  # it lies within the axes, and to measure all of them takes long
    axes.set_xticks(range(count), class_names, rotation=90)
    axes.set_yticks(range(count), class_names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title)
    _save(figure, target)


def plot_folds(result: CrossValidation, target: Path) -> None:
    """Draws each fold's validation scores as dots, the lowest accuracy first, with lines at the means.

    Args:
        result: The folds, cut by subject.
        target: The PNG to write.
    """
    rows = sorted(result.folds, key=lambda row: -1 if row.val_accuracy is None else row.val_accuracy)
    figure = Figure(figsize=(6, 1.6 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for score, label, colour in (
        ("val_accuracy", "accuracy", "tab:blue"),
        ("val_macro_f1", "macro-F1", "tab:orange"),
    ):
        values = [getattr(row, score) for row in rows]
        places = [place for place, value in enumerate(values) if value is not None]
        axes.scatter([100 * values[place] for place in places], places, label=label, color=colour, zorder=2)
        if (spread := result.spread(score)) is not None:
            axes.axvline(100 * spread.mean, color=colour, linestyle="--", linewidth=1)
    axes.set_yticks(range(len(rows)), [", ".join(map(str, row.val_subjects or [])) for row in rows])
    axes.invert_yaxis()
    axes.set_ylabel("subjects that validate")
    axes.set_xlabel("validation score in %; dashed: mean of the folds")
    axes.set_title(f"{result.model} on {result.data}, {len(rows)} folds by subject")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, target)


def _save(figure: Figure, target: Path) -> None:
    if (engine := figure.get_layout_engine()) is not None:  # savefig would draw once more only to lay it out
        engine.execute(figure)
        figure.set_layout_engine("none")
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
