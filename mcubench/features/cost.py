"""What features cost on a device, for one window: arithmetic by stage, and RAM; only for what the chosen ones need.

A window costs 64 samples of filtering, as windows overlap by half, and one evaluation of its statistics. What several
features share is computed once, and a column that copies another costs nothing but its scaling.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mcubench.features.catalogue import SPECTRA, columns, original, originals
from mcubench.features.conditioning import STEP, WINDOW
from mcubench.features.operations import Operations
from mcubench.features.selection import Terms, select
from mcubench.features.steps import VALUE_BYTES, Rule, Step, closure, step_of

__all__ = ["FeatureCost", "FeatureMemory", "StageCost", "feature_cost"]

# What a table calls the steps that are no statistic; it shows those of one name together.
_STAGES = {
    "median": "median of 3",
    "noise": "low-pass 20 Hz",
    "gravity": "low-pass 0.3 Hz",
    "remainder": "low-pass 0.3 Hz",
    "drift": "low-pass 0.1 Hz",
    "signal": "body, jerk, magnitudes",
    "spectrum": "spectra",
    "sum": "mean",
    "squares": "std",
    "length": "angle",
}
_BUFFERS = ("buffer", "remainder")
_COUNT_BYTES = 4  # of samples
_BEFORE = ("median", "noise", "gravity", "remainder", "drift", "signal", "spectrum", "sum", "squares")


@dataclass(frozen=True)
class StageCost:
    """One stage of the computation.

    Attributes:
        name: What is computed.
        operations: Per window.
    """

    name: str
    operations: Operations


@dataclass(frozen=True)
class FeatureMemory:
    """RAM in bytes.

    Attributes:
        state: What filters, median and jerk keep from one sample to the next, and the count of samples.
        buffers: The last 128 values of every time signal that a window's statistics read, and what those of gravity
            lack as floats, where its autoregression reads them.
        scratch: The most that one step needs beside them, with the spectrum that it reads.
        features: The row of features.
    """

    state: int
    buffers: int
    scratch: int
    features: int

    @property
    def total(self) -> int:
        """All of them, as they live at once."""
        return sum(asdict(self).values())


@dataclass(frozen=True)
class FeatureCost:
    """What computing features costs for one window.

    Attributes:
        features: Number of features.
        copies: Those that repeat another one of them, and which one, by name.
        stages: The stages in order.
        memory: RAM.
    """

    features: int
    copies: dict[str, str]
    stages: tuple[StageCost, ...]
    memory: FeatureMemory

    @property
    def operations(self) -> Operations:
        """All stages together."""
        return sum((stage.operations for stage in self.stages), Operations())

    def as_dict(self) -> dict[str, Any]:
        """The cost for JSON."""
        return {
            "features": self.features,
            "copies": self.copies,
            "operations": asdict(self.operations),
            "ram_bytes": self.memory.total,
            "ram": asdict(self.memory),
            "stages": [{"name": stage.name, **asdict(stage.operations)} for stage in self.stages],
            "conventions": list(self.conventions()),
        }

    @staticmethod
    def conventions() -> tuple[str, ...]:
        """What the figures mean, in a line each."""
        return (
            f"Features: for one window of {WINDOW} samples, of which {STEP} are new to the filters; sums, means and "
            "spectra are computed once, copies are free, scaling is included",
            f"RAM of features: filters' state, {WINDOW} values of each time signal in use, the largest scratch, "
            "the features; float32; no single values, no tables, no stack",
        )


def feature_cost(features: Terms = None) -> FeatureCost:
    """Prices features.

    Args:
        features: Which ones, as `select` takes them; not given, all 561.

    Raises:
        UserError: If there are none of these names.
    """
    wanted = select(features)
    first = originals(wanted)
    rules = closure(map(step_of, first))
    order = [*_BEFORE, *dict.fromkeys(column.statistic for column in columns()), "length"]
    sums: dict[str, Operations] = {}
    for kind in order:
        operations = sum((rule.operations for step, rule in rules.items() if step.kind == kind), Operations())
        if operations != Operations():
            stage = _STAGES.get(kind, kind)
            sums[stage] = sums.get(stage, Operations()) + operations
    sums["scaling"] = Operations(multiplications=1, additions=1) * len(wanted)
    return FeatureCost(
        features=len(wanted),
        copies={column.name: first[original(column)].name for column in wanted if first[original(column)] != column},
        stages=tuple(StageCost(name, operations) for name, operations in sums.items()),
        memory=_memory(rules, len(wanted)),
    )


def _memory(rules: dict[Step, Rule], features: int) -> FeatureMemory:
    spectrum = WINDOW // 2 * VALUE_BYTES  # a spectrum's magnitudes lie there while statistics are taken of them
    scratch = (
        rule.scratch + (spectrum if step.signal in SPECTRA and step.kind != "spectrum" else 0)
        for step, rule in rules.items()
    )
    return FeatureMemory(
        state=_COUNT_BYTES + sum(rule.kept for step, rule in rules.items() if step.kind not in _BUFFERS),
        buffers=sum(rule.kept for step, rule in rules.items() if step.kind in _BUFFERS),
        scratch=max(scratch, default=0),
        features=features * VALUE_BYTES,
    )
