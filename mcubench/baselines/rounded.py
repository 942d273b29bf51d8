"""Estimators with their numbers rounded as a device stores them: int8, int16 or float32.

Where a device's kernels are known for all stages that `mcubench.cost.estimators` prices, they compute the classes
(`mcubench.quant.classical`), bit by bit as generated C does. Of others, what they store and every value that a stage
leaves in RAM lies on a grid, and all between is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mcubench.cost.estimators import STEP, Numbers, Stages, Stored, classifying, priced
from mcubench.errors import UserError
from mcubench.quant.classical import FORMS, Form, NotOnDeviceError, classical_graph
from mcubench.quant.classical.stored import codes_of, float32_of
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import predict

__all__ = [
    "FORMS",
    "Form",
    "RoundedEstimator",
    "grids_as_numbers",
    "grids_from_numbers",
    "obstacle",
    "round_estimator",
]

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
        if self.graph is not None:
            codes = self.graph.encode(torch.from_numpy(np.require(x, np.float32, ["C", "W"])))
            return np.asarray(self.estimator.classes_[self.graph.indices(*predict(self.graph, *codes)).numpy()])
        if obstacle(self.stages):  # nobody said how it computes: scikit-learn does it
            return np.asarray(self.estimator.predict(x))
        decided = [self.stages[-1].decide(self._outputs(rows)) for rows in _batches(x)]
        return np.asarray(self.estimator.classes_[np.concatenate(decided)])

    def round_inputs(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Samples x (N, features) as the device gets them."""
        return self._settled(x.astype(np.float64), self.grids[0]).astype(np.float32)

    @property
    def graph(self) -> IntegerGraph | None:
        """What a device computes; ``None`` where no kernels are known for a stage."""
        return None if isinstance(self._built, NotOnDeviceError) else self._built

    def on_device(self) -> IntegerGraph:
        """What a device computes.

        Raises:
            NotOnDeviceError: If no kernels are known for a stage; the message says which.
        """
        if isinstance(self._built, NotOnDeviceError):
            raise self._built
        return self._built

    @cached_property
    def _built(self) -> IntegerGraph | NotOnDeviceError:
        try:
            return classical_graph(self.estimator, self.stages, self.grids, self.form)
        except NotOnDeviceError as error:
            return error

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
        return x if grid is None else grid.values(grid.codes(torch.from_numpy(x))).double().numpy()

    def _stored(self, stored: Stored, grid: Grid | None) -> NDArray[Any]:
        """What a stage stores, rounded; `grid` is that of its input."""
        values = np.asarray(stored.values, np.float64)
        if self.form == "float32":
            return float32_of(values, below=stored.rounding == "threshold").astype(np.float64)
        if stored.role != "weight" or stored.rounding == "exact":
            return values
        return codes_of(stored, grid, FORMS[self.form].weight).values


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


def grids_as_numbers(grids: Sequence[Grid | None]) -> list[list[float] | None]:
    """Grids as a checkpoint holds them: scale and zero point of each."""
    return [None if grid is None else [grid.scale, grid.zero_point] for grid in grids]


def grids_from_numbers(rows: Any, form: Form) -> Grids:
    """What `grids_as_numbers` gave, for the form that they are of.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(rows, list):
        raise ValueError("its grids are no pairs of scale and zero point")
    bits = FORMS[form].activation
    return tuple(None if row is None else replace(_grid(row), bits=bits) for row in rows)


def _grid(row: Any) -> Grid:
    pair = isinstance(row, list) and len(row) == 2 and all(isinstance(each, (int, float)) for each in row)
    if not (pair and all(map(math.isfinite, row)) and row[0] > 0):
        raise ValueError("its grids are no pairs of scale and zero point")
    return Grid(float(row[0]), int(row[1]))
