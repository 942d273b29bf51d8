"""The nearest of stored samples, and their votes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.quant.classical.float32 import squares_in_order
from mcubench.quant.classical.kernels.base import ArrayKernel, squared_distances
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["Neighbours"]


@dataclass(frozen=True, eq=False)
class Neighbours(ArrayKernel):
    """The k stored samples at the smallest distances, of equal ones the first, and votes for their classes.

    Attributes:
        samples: Codes of the input's grid, int64, or float32, shape (samples, features).
        labels: Their classes, int, shape (samples,).
        k: How many count.
        weighted: Whether a vote counts by the inverse of the distance; where some are 0, only those count.
    """

    samples: NDArray[Any]
    labels: NDArray[Any]
    k: int
    weighted: bool

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Votes (N, classes)."""
        found, nearest = self.nearest(x)
        labels = self.labels[nearest]
        votes: NDArray[Any] = np.ones(labels.shape, np.int64)
        if self.weighted:
            roots = np.sqrt(found.astype(np.float32))
            same = roots == 0
            inverse = np.float32(1) / np.where(same, np.float32(1), roots)
            votes = np.where(same.any(1, keepdims=True), same.astype(np.float32), inverse)
        sums = np.zeros((len(x), target.size), votes.dtype)
        for place in range(self.k):  # from the nearest on
            np.add.at(sums, (np.arange(len(x)), labels[:, place]), votes[:, place])
        return sums

    def nearest(self, x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Squared distances and numbers of the nearest samples, (N, k) each, in order."""
        if self.samples.dtype == np.float32:
            distances: NDArray[Any] = squares_in_order(x, self.samples)
        else:
            distances = squared_distances(x, self.samples)
        # A partition takes any of equal ones: whatever is no farther than the k-th is put in order.
        last = np.partition(distances, self.k - 1, axis=1)[:, self.k - 1]
        order = np.empty((len(x), self.k), np.int64)
        for row, (own, limit) in enumerate(zip(distances, last, strict=True)):
            near = np.flatnonzero(own <= limit)
            order[row] = near[np.argsort(own[near], kind="stable")[: self.k]]
        return np.take_along_axis(distances, order, axis=1), order
