"""Accuracy over cost as a picture: who is on the Pareto front of flash, and of MACs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from mcubench.files import atomic_path
from mcubench.results.comparison.rows import Mean, Range, Row

__all__ = ["can_be_drawn", "plot_pareto"]

_DPI = 120
_SMALL = 8  # points
_NAME = 34  # characters of a model's name in a line
_MOST_NAMES = 40  # beyond which nobody reads a picture, and it takes minutes
_OTHERS = "0.75"
# Where a number may stand: points to the right of and above its marker, nearest places first, and first those
# where neither intervals nor steps of the front pass.
_PLACES = [
    (distance * x, distance * y)
    for distance in (10, 16, 23, 31, 40, 50)
    for x, y in ((0.8, 0.9), (0.8, -0.9), (-0.8, 0.9), (-0.8, -0.9), (1, 0), (-1, 0), (0, 1.1), (0, -1.1))
]
_BESIDE = 13  # points from a marker, from which on a line leads to its number

_Point = tuple[int, Row, Range, Mean]  # its number, and what is drawn of it


class _Box(NamedTuple):
    """A rectangle, in pixels; matplotlib's own takes a hundred times as long to intersect, and there are thousands."""

    left: float
    low: float
    right: float
    high: float

    def shared(self, other: _Box) -> float:
        """The area that two have in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.high, other.high) - max(self.low, other.low)
        return max(width, 0) * max(height, 0)


def can_be_drawn(rows: Sequence[Row]) -> bool:
    """Whether any of the rows knows its accuracy and a cost."""
    return any(row.test_accuracy and (row.flash_bytes or row.macs) for row in rows)


def plot_pareto(data: str, rows: Sequence[Row], targets: Sequence[Path]) -> None:
    """Draws test accuracy over flash and over MACs, with intervals and both fronts.

    Args:
        data: The data set.
        rows: Its rows, of which `can_be_drawn`.
        targets: The files to write, PNG or SVG by their suffix.
    """
    # Letters stay letters, which can be searched; the same figures give the same file; names are no formulas.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mcubench", "text.parse_math": False}):
        figure = _draw(data, rows)
        for target in targets:
            form = target.suffix[1:]
            metadata = {"Date": None} if form == "svg" else None
            with atomic_path(target) as temporary:
                figure.savefig(temporary, dpi=_DPI, format=form, metadata=metadata)


def _draw(data: str, rows: Sequence[Row]) -> Figure:
    numbered = list(enumerate(rows, 1))
    flash = [
        (n, row, row.flash_bytes, row.test_accuracy) for n, row in numbered if row.flash_bytes and row.test_accuracy
    ]
    macs = [(n, row, row.macs, row.test_accuracy) for n, row in numbered if row.macs and row.test_accuracy]
    named = _named(rows)
    names = [textwrap.fill(f"{n}  {row.model}", _NAME, subsequent_indent="    ") for n, row in numbered if n in named]
    lines = sum(name.count("\n") + 1 for name in names)
    figure = Figure(figsize=(12, max(4.8, 1 + 0.17 * lines)), layout="constrained", dpi=_DPI)
    figure.suptitle(f"{data}: what accuracy costs", fontsize=10)
    axes = figure.subplots(1, 2, sharey=True)
    fronts = ([row.best_for_flash for _, row, *_ in flash], [row.best_for_macs for _, row, *_ in macs])
    for each, points, front, unit in zip(axes, (flash, macs), fronts, ("flash [B]", "MACs"), strict=True):
        _draw_points(each, points, front, named)
        _scale(each, [cost for *_, cost, _ in points], unit)
    axes[0].set_ylabel("test accuracy [%]")
    keys = [Line2D([], [], color=_colour(n), marker="o", markersize=4, linestyle="", label=name)
            for n, name in zip(sorted(named), names, strict=True)]  # fmt: skip
    if len(named) < len(rows):
        others = f"{len(rows) - len(named):,} others, named in the table"
        keys.append(Line2D([], [], color=_OTHERS, marker=".", linestyle="", label=others))
    keys.append(Line2D([], [], color="0.6", linewidth=1, label="Pareto front (filled)"))
    figure.legend(handles=keys, loc="outside right upper", fontsize=_SMALL, frameon=False)
    figure.draw_without_rendering()  # settles where the axes are, which numbers are placed in
    figure.set_layout_engine("none")
    for each, points in zip(axes, (flash, macs), strict=True):
        _number(each, [point for point in points if point[0] in named])
    return figure


def _named(rows: Sequence[Row]) -> set[int]:
    """The numbers of the rows that are named: all, or as many as can be read, those on the fronts first."""
    fronts_first = sorted(
        range(len(rows)), key=lambda index: not (rows[index].best_for_flash or rows[index].best_for_macs)
    )
    return {index + 1 for index in fronts_first[:_MOST_NAMES]}


def _colour(number: int) -> str:
    return f"C{(number - 1) % 10}"


def _draw_points(axes: Axes, points: Sequence[_Point], front: Sequence[bool], named: set[int]) -> None:
    others = [(cost.high, 100 * accuracy.value) for number, _, cost, accuracy in points if number not in named]
    if others:
        axes.plot(*zip(*others, strict=True), color=_OTHERS, marker=".", linestyle="", zorder=0)
    for (number, _, cost, accuracy), best in zip(points, front, strict=True):
        if number not in named:
            continue
        axes.errorbar(
            cost.high,
            100 * accuracy.value,
            xerr=[[cost.high - cost.low], [0]],
            yerr=None if accuracy.half_width is None else 100 * accuracy.half_width,
            color=_colour(number),
            marker="o",
            markersize=5,
            markerfacecolor=_colour(number) if best else "white",
            capsize=2,
            linewidth=1,
        )
    corners = sorted(
        {(cost.high, 100 * mean.value) for (*_, cost, mean), best in zip(points, front, strict=True) if best}
    )
    if corners:
        # A step: until the next model is affordable, accuracy stays that of the last.
        axes.step(*zip(*corners, strict=True), where="post", color="0.6", linewidth=1, zorder=0)
    else:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color="0.5")
    axes.grid(alpha=0.3)


def _scale(axes: Axes, costs: Sequence[Range], unit: str) -> None:
    """Makes the axis of costs logarithmic; with a linear part from 0 if something costs nothing, as trees no MACs."""
    ends = {end for cost in costs for end in (cost.low, cost.high)}
    positive = [end for end in ends if end > 0]
    if 0 in ends:
        least = 10 ** math.floor(math.log10(min(positive))) if positive else 1
        axes.set_xscale("symlog", linthresh=least, linscale=0.4)
        axes.set_xlim(left=-least / 4)
        axes.axvspan(-least / 4, least, color="0.96", zorder=-1)
        axes.set_xlabel(f"{unit}, logarithmic; linear from 0 to {least:,} (grey)")
        most = math.ceil(math.log10(max(positive))) if positive else 0
        axes.xaxis.set_major_locator(FixedLocator([0, *(least * 10**power for power in range(most + 1))]))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xscale("log")
        axes.set_xlabel(f"{unit}, logarithmic")
        if positive and max(positive) < 10 * min(positive):  # else there may be no power of ten to read
            axes.set_xlim(min(positive) / 3, max(positive) * 3)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.margins(y=0.12)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -2), min(high, 102))  # where few seeds differ, an interval is wider than what can be


def _short(value: float) -> str:
    """A cost as a tick: 1, 10, 10 k, 1 M."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:g} {unit}"
    return f"{value:g}"


def _number(axes: Axes, points: Sequence[_Point]) -> None:
    """Writes a number beside every point, each at the first place where it covers least of what is there."""
    pixels = _DPI / 72  # a point
    at = [axes.transData.transform((cost.high, 100 * mean.value)) for *_, cost, mean in points]
    taken = [_box(x, y, 8 * pixels, 8 * pixels) for x, y in at]
    frame = _Box(*axes.get_window_extent().extents)
    for (number, _, cost, mean), (x, y) in zip(points, at, strict=True):
        width, height = 6 * len(str(number)) * pixels, 10 * pixels
        boxes = {place: _box(x + place[0] * pixels, y + place[1] * pixels, width, height) for place in _PLACES}
        best = min(boxes, key=lambda place: _covered(boxes[place], taken, frame))
        taken.append(boxes[best])
        line = {"arrowstyle": "-", "color": "0.6", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3}
        axes.annotate(
            str(number),
            (cost.high, 100 * mean.value),
            xytext=best,
            textcoords="offset points",
            fontsize=_SMALL,
            color=_colour(number),
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3},
            arrowprops=line if math.hypot(*best) > _BESIDE else None,
        )


def _box(x: float, y: float, width: float, height: float) -> _Box:
    """A box by its middle."""
    return _Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _covered(box: _Box, taken: Sequence[_Box], frame: _Box) -> float:
    """The area, in pixels, that a number would cover of others or have outside of the axes."""
    return box.shared(box) - box.shared(frame) + sum(box.shared(other) for other in taken)
