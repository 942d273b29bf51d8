"""The losses of both frameworks as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mcubench.files import atomic_path
from mcubench.parity.training.curves import TrainingParity

__all__ = ["plot_losses"]

_DPI = 120


def plot_losses(training: TrainingParity, target: Path) -> None:
    """Draws both curves of losses, and their relative gap beside them.

    Args:
        training: The trainings.
        target: The PNG to write.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, gaps = figure.subplots(1, 2)
    steps = np.arange(1, len(training.torch.losses) + 1)
    ours, theirs = np.asarray(training.torch.losses), np.asarray(training.keras.losses)
    losses.plot(steps, ours, label="PyTorch", color="tab:orange", linewidth=3, alpha=0.6)
    losses.plot(steps, theirs, label=f"Keras ({training.backend})", color="tab:blue", linewidth=1)
    losses.set_title(f"{training.model}: loss, {training.optimizer} at {training.learning_rate:g}")
    losses.legend()
    gaps.semilogy(steps, np.maximum(np.abs(theirs - ours) / np.abs(ours), 1e-9), color="tab:blue")
    gaps.axhline(training.rtol, color="tab:red", linestyle="--", label="allowed")
    gaps.set_title("relative gap")
    gaps.legend()
    for axes in (losses, gaps):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    with atomic_path(target) as temporary:
        figure.savefig(temporary, dpi=_DPI, format="png")
