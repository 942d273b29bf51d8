"""The files in which ``profile`` writes what a model costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mcubench.cost import CostReport, Fit

__all__ = ["cost_writers"]


def cost_writers(report: CostReport, fits: Sequence[Fit], **more: Any) -> dict[str, Callable[[Path], None]]:
    """What writes each, by the option that names the file.

    Args:
        report: The costs.
        fits: Devices that they were compared with.
        **more: What stands in the JSON beside them.
    """

    def plot(target: Path) -> None:
        from mcubench.cost.timeline import plot_timeline

        plot_timeline(report, target)

    devices = [fit.as_dict() for fit in fits]
    return {
        "json": lambda target: report.save_json(target, devices=devices, **more),
        "csv": report.save_csv,
        "plot": plot,
    }
