"""What a comparison is: rows of means, intervals and costs, and who is on the Pareto front."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Comparison", "Mean", "Range", "Row", "mean_of", "pareto_front"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean over seeds.

    Attributes:
        value: The mean.
        half_width: Half the width of its 95 % interval by Student's t; ``None`` for one seed, which has no spread.
    """

    value: float
    half_width: float | None

    def as_dict(self) -> dict[str, float | None]:
        """What files have of it."""
        return {"value": self.value, "ci95": self.half_width}


@dataclass(frozen=True)
class Range:
    """What the runs of a row cost: the same, or from `low` to `high`, as trees grow differently with every seed."""

    low: int
    high: int


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed only.

    Attributes:
        data: The data set, with the options in which data sets of its name differ.
        model: The name that was given, or the model with the options in which its rows on this data set differ.
        runs: The runs' folders.
        form: What these scores are of, the form that is priced where it is known: ``float``, ``8-bit`` or other widths.
        test_accuracy: In 0 .. 1; ``None``, as all that follow, if a run does not know it.
        val_accuracy: The same.
        test_macro_f1: The same.
        float_test_accuracy: The test accuracy without rounding.
        fit_seconds: Training with validation.
        macs: Multiply-accumulates for one sample.
        flash_bytes: What the weights occupy.
        ram_bytes: What the activations occupy.
        params: Numbers that were trained.
        features_macs: What computing the inputs takes on top of `macs`; ``None`` where samples are the inputs.
        instructions: Of one inference on a core, where ``emulate`` counted them.
        device_flash_bytes: Code and constants there.
        device_ram_bytes: Arena, stack, input and output there.
        best_for_flash: No row of the data set has a better test accuracy for no more flash, or the same for less.
        best_for_macs: The same for MACs.
    """

    data: str
    model: str
    runs: tuple[Path, ...]
    form: str
    test_accuracy: Mean | None
    val_accuracy: Mean | None
    test_macro_f1: Mean | None
    float_test_accuracy: Mean | None
    fit_seconds: Mean | None
    macs: Range | None
    flash_bytes: Range | None
    ram_bytes: Range | None
    params: Range | None
    features_macs: Range | None
    instructions: Range | None = None
    device_flash_bytes: Range | None = None
    device_ram_bytes: Range | None = None
    best_for_flash: bool = False
    best_for_macs: bool = False


@dataclass(frozen=True)
class Comparison:
    """All rows, by data set and within it from the best test accuracy down.

    Attributes:
        rows: The rows.
        notes: What was left out, and what to mind.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def by_data(self) -> dict[str, list[Row]]:
        """The rows of each data set."""
        found: dict[str, list[Row]] = defaultdict(list)
        for row in self.rows:
            found[row.data].append(row)
        return dict(found)

    @property
    def has_features(self) -> bool:
        """Whether the inputs of any row have a cost of their own."""
        return any(row.features_macs for row in self.rows)

    @property
    def is_measured(self) -> bool:
        """Whether any row was run on a core."""
        return any(row.instructions for row in self.rows)

    def has(self, cost: str) -> bool:
        """Whether a cost says something: of inputs and of cores only where there are some."""
        if cost == "features_macs":
            return self.has_features
        return self.is_measured or cost not in ("instructions", "device_flash_bytes", "device_ram_bytes")


def mean_of(values: Sequence[float]) -> Mean:
    """The mean of some values, at least one, and half its 95 % interval by Student's t."""
    count = len(values)
    mean = statistics.mean(values)  # exact before it is rounded: equal values are their own mean
    if count == 1:
        return Mean(mean, None)
    from scipy.special import stdtrit  # scipy.stats has it as t.ppf, and takes seconds to import

    quantile = float(stdtrit(count - 1, (1 + _CONFIDENCE) / 2))
    return Mean(mean, quantile * statistics.stdev(values) / math.sqrt(count))


def pareto_front(points: Sequence[tuple[float | None, float | None]]) -> list[bool]:
    """Says of each point, a cost and a score, whether no other is as good in both and better in one.

    A point of which one is unknown is not on the front, and keeps no other from it.
    """
    known = [(cost, score) for cost, score in points if cost is not None and score is not None]

    def on_front(cost: float, score: float) -> bool:
        return not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in known)

    return [cost is not None and score is not None and on_front(cost, score) for cost, score in points]
