"""What a stage stores, as codes on the grids that a form prescribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.cost.estimators import Stored
from mcubench.quant.grid import Grid, weight_limit

__all__ = ["Codes", "codes_of", "float32_of"]


@dataclass(frozen=True)
class Codes:
    """Numbers as integers: ``scale * (code - zero_point)``.

    Attributes:
        codes: int64, in the shape of what is stored.
        scale: float64: one, or one for each row, shape (rows, 1).
        zero_point: Code of 0.
    """

    codes: NDArray[np.int64]
    scale: NDArray[np.float64]
    zero_point: int = 0

    @property
    def values(self) -> NDArray[np.float64]:
        """What they stand for."""
        return np.asarray((self.codes - self.zero_point) * self.scale)


def codes_of(stored: Stored, grid: Grid | None, bits: int, least: Any = 0.0) -> Codes:
    """Rounds weights, means, samples or thresholds.

    Args:
        stored: What is stored, with the role ``weight`` and a rounding that is not ``exact``.
        grid: That of the stage's input, which ``input`` and ``threshold`` lie on.
        bits: Of a code.
        least: What a step of a row, or of the whole, is worth at least.
    """
    values = np.asarray(stored.values, np.float64)
    if stored.rounding in ("input", "threshold"):
        assert grid is not None
        steps = _below(values, grid.scale) if stored.rounding == "threshold" else np.rint(values / grid.scale)
        half = 2 ** (bits - 1)
        found = (steps + grid.zero_point).clip(-half, half - 1)
        return Codes(found.astype(np.int64), np.float64(grid.scale), grid.zero_point)  # type: ignore[arg-type]
    if stored.rounding == "unit":
        largest: Any = 1.0
    else:
        largest = np.abs(values).max(axis=None if stored.rounding == "tensor" else -1, keepdims=True, initial=0.0)
    scale = np.maximum(np.where(np.asarray(largest) > 0, largest, 1) / weight_limit(bits), least)
    return Codes(np.rint(values / scale).astype(np.int64), scale)


def _below(x: NDArray[Any], scale: float) -> NDArray[Any]:
    """The next step at or below x, so that ``x <= threshold`` stays as it is for every x on the grid."""
    steps = np.floor(x / scale)
    steps += (steps + 1) * scale <= x  # the quotient may have been rounded down past a whole number
    return np.asarray(steps)


def float32_of(values: Any, below: bool = False) -> NDArray[np.float32]:
    """The nearest float32, or the next at or below: for every x in float32, x <= threshold stays as it is."""
    exact = np.asarray(values, np.float64)
    found = exact.astype(np.float32)
    if below:
        found = np.where(found > exact, np.nextafter(found, np.float32(-np.inf)), found)
    return found
