"""How samples become inputs: scaled by constants that were learned from other samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mcubench.datamodules.arrays import chunks
from mcubench.errors import UserError

__all__ = ["MinMax", "Scaling", "Standardised"]


class Scaling(Protocol):
    """Turns samples, shape (N, ...), into inputs, float32."""

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Scales samples."""
        ...

    def describe(self) -> dict[str, Any]:
        """The constants as plain values, for a result row."""
        ...


@dataclass(frozen=True)
class Standardised:
    """Every channel with mean 0 and standard deviation 1.

    Attributes:
        mean: float32, shape (channels, 1, ...).
        std: The same; 1 for a channel that is constant.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @classmethod
    def fit(cls, x: NDArray[Any]) -> Standardised:
        """Learns the constants of each channel (axis 1), summed in float64.

        The deviations are float32 temporaries: float64 ones would take twice as long.

        Raises:
            UserError: If the squares of a channel's deviations leave the range of float32.
        """
        axes = (0, *range(2, x.ndim))
        mean = x.mean(axes, np.float64, keepdims=True)[0].astype(np.float32)
        squares = np.zeros((1, *mean.shape))
        with np.errstate(over="ignore"):
            for part in chunks(len(x), x[:1].size):
                deviations = np.subtract(x[part], mean, dtype=np.float32)
                np.square(deviations, out=deviations)
                squares += deviations.sum(axes, np.float64, keepdims=True)
        std = np.sqrt(squares / (x.size / mean.size))[0]
        if not np.isfinite(std).all():
            channel = int(np.flatnonzero(~np.isfinite(std))[0])
            raise UserError(f"channel {channel} of the samples has values too large to be scaled: divide them before")
        return cls(mean, np.where(std > 0, std, 1).astype(np.float32))

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Scales samples."""
        scaled: NDArray[np.float32] = np.subtract(x, self.mean, dtype=np.float32)
        scaled /= self.std
        return scaled

    def describe(self) -> dict[str, Any]:
        """``mean`` and ``std`` of each channel."""
        return {"mean": self.mean.ravel().tolist(), "std": self.std.ravel().tolist()}


@dataclass(frozen=True)
class MinMax:
    """Some columns of a matrix, each mapped so that its range becomes [-1, 1].

    Attributes:
        columns: Which ones, int64, shape (k,).
        minimum: float64, shape (k,), of what it was fitted on.
        maximum: The same.
        fitted_on: What that was, in words.
    """

    columns: NDArray[np.int64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    fitted_on: str

    @classmethod
    def fit(cls, x: NDArray[Any], columns: Sequence[int] | NDArray[np.int64], fitted_on: str) -> MinMax:
        """Learns the range of each of the columns of x, shape (N, all columns)."""
        chosen = x[:, columns]
        return cls(np.asarray(columns), chosen.min(0), chosen.max(0), fitted_on)

    def take(self, columns: Sequence[int]) -> MinMax:
        """The same for some of its columns, named by where they stand in the matrix."""
        places = np.searchsorted(self.columns, columns)
        return MinMax(self.columns[places], self.minimum[places], self.maximum[places], self.fitted_on)

    def __call__(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Scales samples, in float64: a feature's range may be tiny beside its values."""
        width = self.maximum - self.minimum
        scaled = 2 * (x[:, self.columns] - self.minimum) / np.where(width > 0, width, 1) - 1
        return scaled.astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """``minimum`` and ``maximum`` of each column, and what they were taken of."""
        return {"minimum": self.minimum.tolist(), "maximum": self.maximum.tolist(), "fitted_on": self.fitted_on}
