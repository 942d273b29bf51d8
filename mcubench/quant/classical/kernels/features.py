"""Transformers of single features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.quant.classical.float32 import nearest, within
from mcubench.quant.classical.kernels.base import ArrayKernel, centred
from mcubench.quant.classical.kernels.dense import step_of
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["Scale", "ScaleFloat", "Select", "UnitLength"]


@dataclass(frozen=True, eq=False)
class Scale(ArrayKernel):
    """A factor and a summand for each feature, in fixed point: (x factor + summand 2^lift + 2^(shift - 1)) / 2^shift.

    Attributes:
        factors: int32, shape (features,).
        summands: int32, shape (features,).
        lift: By how many bits summands are shifted up.
        shift: By how many bits the sum is shifted down.
        low: The smallest code that is left.
        high: The largest.
    """

    factors: NDArray[np.int64]
    summands: NDArray[np.int64]
    lift: int
    shift: int
    low: int
    high: int

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Codes (N, features)."""
        sums = x.astype(np.int64) * self.factors + (self.summands << self.lift) + (1 << self.shift >> 1)
        return (sums >> self.shift).clip(self.low, self.high)


@dataclass(frozen=True, eq=False)
class ScaleFloat(ArrayKernel):
    """(x - shift) factor in float32, between bounds.

    Attributes:
        shifts: float32, shape (features,).
        factors: float32, shape (features,).
        bounds: The smallest and the largest value that is left, if there are such.
    """

    shifts: NDArray[np.float32]
    factors: NDArray[np.float32]
    bounds: tuple[float, float] | None

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Values (N, features)."""
        values = (x - self.shifts) * self.factors
        return values if self.bounds is None else within(values, *map(np.float32, self.bounds))


@dataclass(frozen=True, eq=False)
class UnitLength(ArrayKernel):
    """x / |x|; zeros as they are."""

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Codes or values (N, features)."""
        if source.real:
            squares = np.zeros(len(x), np.float32)
            for column in x.T:
                squares += column * column
            lengths = np.sqrt(squares)
            return x * (np.float32(1) / np.where(lengths == 0, np.float32(1), lengths))[:, None]
        steps = centred(x, source)
        lengths = np.sqrt(np.square(steps).sum(1).astype(np.float32))
        factors = step_of(target) / np.where(lengths == 0, np.float32(1), lengths)
        return nearest(steps.astype(np.float32) * factors[:, None] + np.float32(target.grid.zero_point), target.grid)


@dataclass(frozen=True, eq=False)
class Select(ArrayKernel):
    """Some of the features.

    Attributes:
        chosen: Which, int, in order.
    """

    chosen: NDArray[Any]

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """The features (N, chosen)."""
        return x[:, self.chosen]
