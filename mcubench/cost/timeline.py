"""Where RAM goes: the arena over the schedule, as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mcubench.cost.report import CostReport
from mcubench.files import atomic_path

__all__ = ["plot_timeline"]

_DPI = 120
_NAMED_FROM = 0.06  # of the arena's height: smaller buffers have no room for their name


def plot_timeline(report: CostReport, target: Path) -> None:
    """Draws every buffer of the arena: from which step to which it lives, and at which bytes it lies.

    Args:
        report: The report of a model.
        target: The PNG to write.
    """
    plan = report.memory
    labels = ["input", *(f"{layer.path or '(root)'}\n{layer.op}" for layer in report.layers)]
    figure = Figure(figsize=(max(6.0, 2.5 + 0.55 * len(labels)), 4.8), layout="constrained")
    axes = figure.subplots()
    for index, placed in enumerate(plan.placements):
        buffer = placed.buffer
        width = buffer.last - buffer.first + 1
        colour = f"C{index % 10}"
        axes.add_patch(
            Rectangle(
                (buffer.first - 0.5, placed.offset), width, buffer.size, facecolor=colour, alpha=0.55, edgecolor="0.2"
            )
        )
        if buffer.size > _NAMED_FROM * plan.peak:
            text = f"{buffer.name}\n{buffer.size:,} B"
            middle = (buffer.first + buffer.last) / 2
            axes.text(
                middle, placed.offset + buffer.size / 2, text, ha="center", va="center", fontsize=7, parse_math=False
            )
    axes.axhline(plan.peak, color="0.2", linewidth=1)
    axes.axvspan(plan.peak_step - 0.5, plan.peak_step + 0.5, color="0.9", zorder=0)
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylim(0, plan.peak * 1.08 or 1)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=7, parse_math=False)
    axes.set_ylabel("bytes of the arena")
    axes.set_title(
        f"{report.model}: {plan.peak:,} B of activations, most of them needed in {report.peak_layer}",
        fontsize=9,
        parse_math=False,
    )
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
