"""Estimators with their numbers rounded as a device stores them: int8, int16 or float32.

The stages that `mcubench.cost.estimators` prices are computed with what they store on integer grids, and with every
value that a stage leaves in RAM on one, too. Sums, biases and rescaling between are exact, as in
`mcubench.quant.fake.interpret_fake`; what a function gives (an exponential, a root) is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mcubench.cost import BitWidths
from mcubench.cost.estimators import STEP, Numbers, Stages, Stored, classifying, priced
from mcubench.errors import UserError
from mcubench.quant.grid import Grid, weight_limit

__all__ = [
    "FORMS",
    "Form",
    "RoundedEstimator",
    "grids_as_numbers",
    "grids_from_numbers",
    "obstacle",
    "round_estimator",
]

Form = Literal["int8", "int16", "float32"]

FORMS: Mapping[Form, BitWidths] = {  # the narrowest first
    "int8": BitWidths(8, 8),
    "int16": BitWidths(16, 16, int16=True),
    "float32": BitWidths(32, 32),
}

_ROWS = 512  # computed at a time: a kernel machine's values are thousands a sample
_SAMPLES = 1000  # on which the ranges of values between stages are observed

Grids = tuple[Grid | None, ...]


@dataclass(frozen=True)
class RoundedEstimator:
    """A fitted classifier as a device computes it.

    Attributes:
        estimator: The classifier of scikit-learn's.
        form: What its numbers are.
        grids: Of the input and of what each stage leaves; ``None`` for sums and classes, and for floats.
        stages: What predicting takes, as it is priced.
    """

    estimator: BaseEstimator
    form: Form
    grids: Grids
    stages: Stages = field(repr=False, compare=False)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Classes of samples x (N, features), shape (N,)."""
        if obstacle(self.stages):  # nobody said how it computes: scikit-learn does it
            return np.asarray(self.estimator.predict(x))
        decided = [self.stages[-1].decide(self._outputs(rows)) for rows in _batches(x)]
        return np.asarray(self.estimator.classes_[np.concatenate(decided)])

    def round_inputs(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Samples x (N, features) as the device gets them."""
        return self._settled(x.astype(np.float64), self.grids[0]).astype(np.float32)

    @cached_property
    def _numbers(self) -> list[Numbers]:
        return [
            {each.name: self._stored(each, grid) for each in stage.stored if each.values is not None}
            | ({STEP: np.array(grid.scale)} if grid else {})
            for stage, grid in zip(self.stages, self.grids, strict=False)
        ]

    def _outputs(self, x: NDArray[Any]) -> NDArray[Any]:
        x = self._settled(x.astype(np.float64), self.grids[0])
        for stage, numbers, grid in zip(self.stages, self._numbers, self.grids[1:], strict=True):
            assert stage.compute is not None
            x = self._settled(stage.compute(x, numbers), grid)
        return x

    def _settled(self, x: NDArray[Any], grid: Grid | None) -> NDArray[Any]:
        """Values on their grid; as float32, if that is what they are."""
        if self.form == "float32":
            return x.astype(np.float32).astype(np.float64)
        return x if grid is None else _nearest(x, grid, FORMS[self.form].activation)

    def _stored(self, stored: Stored, grid: Grid | None) -> NDArray[Any]:
        """What a stage stores, rounded; `grid` is that of its input."""
        values, bits = np.asarray(stored.values, np.float64), FORMS[self.form].weight
        if self.form == "float32":
            return _float32(values, below=stored.rounding == "threshold")
        if stored.role != "weight" or stored.rounding == "exact" or not values.size:
            return values
        if stored.rounding in ("input", "threshold"):
            below = stored.rounding == "threshold"
            return values if grid is None else (_below if below else _nearest)(values, grid, bits)
        limit = weight_limit(bits)
        if stored.rounding == "unit":
            largest: Any = 1.0
        else:
            largest = np.abs(values).max(axis=None if stored.rounding == "tensor" else -1, keepdims=True)
        scale = np.where(largest > 0, largest, 1) / limit
        return np.asarray(np.rint(values / scale) * scale)


def round_estimator(
    estimator: BaseEstimator, form: Form, samples: NDArray[Any], stages: Stages | None = None
) -> RoundedEstimator:
    """Rounds a fitted classifier.

    Args:
        estimator: The classifier, or a pipeline that ends with one.
        form: ``int8``, ``int16`` or ``float32``.
        samples: Training samples (N, features), which ranges are taken from.
        stages: Those of the estimator, where they are known already: a forest's take seconds.

    Raises:
        UserError: If the form is not known; or it is one of integers, and nobody said how the estimator computes, or
            its numbers or values are not finite.
    """
    if form not in FORMS:
        raise UserError(f"bits must be one of {', '.join(get_args(Form))}; got {form!r}")
    stages = priced(classifying, estimator) if stages is None else stages
    if form == "float32":
        return RoundedEstimator(estimator, form, (None,) * (len(stages) + 1), stages)
    if why := obstacle(stages):
        raise UserError(f"{type(estimator).__name__} can't be computed in {form}: {why}")
    bits = FORMS[form].activation
    grids: list[Grid | None] = [Grid.of_range(float(samples.min()), float(samples.max()), bits)]
    spread = samples[np.linspace(0, len(samples) - 1, min(_SAMPLES, len(samples))).astype(int)]
    for stage, (low, high) in zip(stages, _ranges(stages, spread), strict=True):
        if not (math.isfinite(low) and math.isfinite(high)):  # as of a probability of 0, whose logarithm is stored
            raise UserError(f"{type(estimator).__name__} can't be computed in {form}: {stage.op} is not finite")
        if stage.moves:
            grids.append(grids[-1])
        else:
            grids.append(None if stage.output_bits else Grid.of_range(low, high, bits))
    return RoundedEstimator(estimator, form, tuple(grids), stages)


def obstacle(stages: Stages) -> str:
    """Why stages can't be computed; empty, if they can."""
    for stage in stages:
        if stage.unsupported:
            return stage.unsupported
        if stage.compute is None:
            return f"its stage {stage.op} says what it costs, but not what it computes"
    return ""


def _ranges(stages: Stages, x: NDArray[Any]) -> Iterator[tuple[float, float]]:
    """The smallest and the largest value that each stage leaves, in float."""
    bounds: list[tuple[float, float]] = []
    for rows in _batches(x):
        values = rows.astype(np.float64)
        found = []
        for stage in stages:
            assert stage.compute is not None
            values = stage.compute(values, {each.name: each.values for each in stage.stored if each.values is not None})
            found.append((float(values.min()), float(values.max())))
        bounds = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(bounds or found, found, strict=True)]
    return iter(bounds)


def _batches(x: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (x[start : start + _ROWS] for start in range(0, len(x), _ROWS))


def _nearest(x: NDArray[Any], grid: Grid, bits: int) -> NDArray[Any]:
    """The nearest value of a grid; its ends for what lies beyond."""
    return _steps(np.rint(x / grid.scale), grid, bits) * grid.scale


def _below(x: NDArray[Any], grid: Grid, bits: int) -> NDArray[Any]:
    """The next value of a grid at or below x."""
    steps = np.floor(x / grid.scale)
    steps += (steps + 1) * grid.scale <= x  # the quotient may have been rounded down past a whole number
    return _steps(steps, grid, bits) * grid.scale


def _steps(steps: NDArray[Any], grid: Grid, bits: int) -> NDArray[Any]:
    """Steps from 0, as far as there are codes for them."""
    lowest = -(2 ** (bits - 1)) - grid.zero_point
    return steps.clip(lowest, lowest + 2**bits - 1)


def _float32(values: NDArray[Any], below: bool) -> NDArray[Any]:
    """The nearest float32, or the next at or below: for every x in float32, x <= threshold stays as it is."""
    found = values.astype(np.float32)
    if below:
        found = np.where(found > values, np.nextafter(found, np.float32(-math.inf)), found)
    return found.astype(np.float64)


def grids_as_numbers(grids: Sequence[Grid | None]) -> list[list[float] | None]:
    """Grids as a checkpoint holds them: scale and zero point of each."""
    return [None if grid is None else [grid.scale, grid.zero_point] for grid in grids]


def grids_from_numbers(rows: Any) -> Grids:
    """What `grids_as_numbers` gave.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(rows, list):
        raise ValueError("its grids are no pairs of scale and zero point")
    return tuple(None if row is None else _grid(row) for row in rows)


def _grid(row: Any) -> Grid:
    pair = isinstance(row, list) and len(row) == 2 and all(isinstance(each, (int, float)) for each in row)
    if not (pair and all(map(math.isfinite, row)) and row[0] > 0):
        raise ValueError("its grids are no pairs of scale and zero point")
    return Grid(float(row[0]), int(row[1]))
