"""What trainings gave: losses step by step, and what Keras' defaults do to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

__all__ = ["Curve", "DefaultEffect", "Estimate", "TrainingParity"]


@dataclass(frozen=True)
class Curve:
    """What one training gave.

    Attributes:
        losses: Mean cross-entropy of each batch before its step.
        held_out: That of the held-out samples after the last step, in evaluation mode; ``None`` without such samples.
    """

    losses: tuple[float, ...]
    held_out: float | None

    @property
    def last(self) -> float:
        """Mean loss of the last tenth of the steps."""
        return float(np.mean(self.losses[-max(1, len(self.losses) // 10) :]))

    def gap_to(self, reference: Curve) -> float:
        """The largest |loss - reference| / |reference| of any step; infinite if one is not finite."""
        return _largest_gap(self.losses, reference.losses)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: The mean.
        half: Half the width of its 95 % interval (Student's t); ``None`` for what no seed changes.
    """

    mean: float
    half: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """The mean of some values, with its interval if there are several."""
        if len(values) < 2:
            return cls(float(values[0]))
        spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
        return cls(float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * spread)


@dataclass(frozen=True)
class DefaultEffect:
    """What one of Keras' defaults does to a training.

    Attributes:
        name: The default.
        layers: Labels of the layers that it concerns; empty for the optimiser.
        pytorch: What PyTorch has.
        keras: What Keras has.
        gap: Largest relative gap of the training losses to PyTorch's.
        last: Mean loss of the last tenth of the steps.
        held_out: Loss of the held-out samples after the last step; ``None`` without such samples.
    """

    name: str
    layers: tuple[str, ...]
    pytorch: str
    keras: str
    gap: Estimate
    last: Estimate
    held_out: Estimate | None


@dataclass(frozen=True)
class TrainingParity:
    """Losses of both frameworks, step by step.

    Attributes:
        model: Name of the module's class.
        backend: Keras' backend.
        optimizer: The optimiser.
        learning_rate: Its learning rate.
        batch_size: Samples of the first batch.
        rtol: The largest relative gap of the losses that agrees.
        torch: PyTorch's curve.
        keras: Keras' curve.
        rounded: PyTorch's curve from weights that are one rounding apart: what no care can get below.
        notes: What is worth knowing.
        defaults: What each of Keras' own defaults does, if that was measured.
    """

    model: str
    backend: str
    optimizer: str
    learning_rate: float
    batch_size: int
    rtol: float
    torch: Curve
    keras: Curve
    rounded: Curve
    notes: tuple[str, ...]
    defaults: tuple[DefaultEffect, ...] = ()

    @property
    def gap(self) -> float:
        """The largest relative gap of the training losses."""
        return self.keras.gap_to(self.torch)

    @property
    def held_out_gap(self) -> float | None:
        """The relative gap of the held-out losses; ``None`` without such samples."""
        if self.keras.held_out is None or self.torch.held_out is None:
            return None
        return _largest_gap([self.keras.held_out], [self.torch.held_out])

    @property
    def rounding(self) -> float:
        """The largest relative gap of PyTorch to itself, from weights that are one rounding apart."""
        return self.rounded.gap_to(self.torch)

    @property
    def passed(self) -> bool:
        """Whether both curves agree, and the held-out losses."""
        return self.gap <= self.rtol and (self.held_out_gap or 0.0) <= self.rtol

    def as_dict(self) -> dict[str, Any]:
        """The comparison for JSON."""
        return {
            "passed": self.passed,
            "verdict": self.verdict(),
            "gap": self.gap,
            "held_out_gap": self.held_out_gap,
            "rounding": self.rounding,
            **asdict(self),
        }

    def verdict(self) -> str:
        """One sentence."""
        says = "train alike" if self.passed else "train differently"
        held_out = "" if self.held_out_gap is None else f", of the held-out loss {self.held_out_gap:.2g}"
        return (
            f"{self.model} in PyTorch and Keras ({self.backend}) {says} with {self.optimizer}: largest relative gap of "
            f"the losses {self.gap:.2g} over {len(self.torch.losses)} steps{held_out}, allowed {self.rtol:g}"
        )


def _largest_gap(found: Sequence[float], wanted: Sequence[float]) -> float:
    """The largest |found - wanted| / |wanted|; infinite if a number is not finite.

    Losses below a thousandth of the largest are measured against that: nearer to zero they are mostly rounding.
    """
    a, b = np.asarray(found), np.asarray(wanted)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    off = np.abs(a - b)
    size = np.maximum(np.abs(b), 1e-3 * np.abs(b).max())
    return float(np.max(np.divide(off, size, out=np.where(off == 0, 0.0, np.inf), where=size != 0)))
