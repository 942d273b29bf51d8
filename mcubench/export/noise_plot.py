"""Where precision goes: the signal-to-noise ratio by layer, as a picture."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.figure import Figure

from mcubench.export.report import QuantizationReport
from mcubench.files import atomic_path

__all__ = ["plot_noise"]

_DPI = 120


def plot_noise(report: QuantizationReport, target: Path) -> None:
    """Draws the signal-to-quantisation-noise ratio of every value, inputs first.

    Args:
        report: What was measured.
        target: The PNG to write.
    """
    layers = [layer for layer in report.layers if math.isfinite(layer.sqnr)]
    figure = Figure(figsize=(7, 1.4 + 0.28 * len(layers)), layout="constrained")
    axes = figure.subplots()
    places = range(len(layers))
    axes.barh(places, [layer.sqnr for layer in layers], color="C0", alpha=0.7)
    labels = [f"{layer.path or '(root)'}: {layer.op}" if layer.op != "input" else "input" for layer in layers]
    axes.set_yticks(places, labels, fontsize=7, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel("signal-to-quantisation-noise ratio [dB], errors of the layers before included")
    axes.set_title(f"{report.model} on {report.data}: {report.widths}", fontsize=9, parse_math=False)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
