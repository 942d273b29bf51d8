"""k nearest neighbours: the whole training set is the model.

Formulas: the squared distance to every stored sample as the sum of squared differences, one MAC a feature (no roots
where only their order counts). The k smallest are kept in order, and each new distance is compared with all of
them, so that the j-th sample takes min(j, k) comparisons whatever the data: n k - k (k + 1) / 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from mcubench.cost.estimators.stages import (
    ACCUMULATOR_BITS,
    STEP,
    NotPricedError,
    Numbers,
    Stage,
    Stages,
    Stored,
    argmax,
    class_bits,
    classifying,
    index_bits,
    kept,
    squared_distances,
)

__all__ = ["Nearest"]


@dataclass(frozen=True)
class Nearest:
    """Votes of the nearest of the stored samples.

    Attributes:
        k: How many of them.
        labels: Their classes, int, shape (samples,).
        classes: How many there are.
        weighted: Whether a vote counts by the inverse of the distance.
    """

    k: int
    labels: NDArray[Any]
    classes: int
    weighted: bool

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Votes (N, classes) for x (N, features)."""
        # In steps of the grid that both lie on, distances are whole numbers, and equal ones are equal.
        step = numbers.get(STEP)
        both = (x, numbers["samples"]) if step is None else (np.rint(each / step) for each in (x, numbers["samples"]))
        distances = squared_distances(*both)
        nearest = _nearest(distances, self.k)
        votes = np.ones(nearest.shape)
        if self.weighted:
            found = np.sqrt(np.take_along_axis(distances, nearest, axis=1))
            same = found == 0  # where there are any, only they count (sklearn.neighbors._base._get_weights)
            votes = np.where(same.any(1, keepdims=True), same, 1 / np.where(same, 1, found))
        chosen = self.labels[nearest]
        return np.stack([(votes * (chosen == label)).sum(1) for label in range(self.classes)], axis=1)


@classifying.register
def _neighbours(estimator: KNeighborsClassifier) -> Stages:
    bits, classes = class_bits(estimator), len(estimator.classes_)
    if estimator.effective_metric_ != "euclidean":
        raise NotPricedError(f"there is no formula for the metric {estimator.effective_metric_!r}")
    if estimator.weights not in ("uniform", "distance"):
        raise NotPricedError("its weights are a function")
    (samples, features), k = estimator._fit_X.shape, estimator.n_neighbors
    weighted = estimator.weights == "distance"

    return (
        Stage(
            f"KNeighborsClassifier: {k} of {samples:,}",
            outputs=classes,
            macs=samples * features,
            comparisons=samples * k - k * (k + 1) // 2 + argmax(classes) + (k if weighted else 0),  # with 0 distance?
            functions=2 * k if weighted else 0,  # a root and a division each
            stored=(
                kept("samples", estimator._fit_X, rounding="input"),
                Stored("labels", "constant", samples, bits),
            ),
            output_bits=ACCUMULATOR_BITS if weighted else index_bits(k + 1),
            scratch=k * bits // 8,
            sums=k,
            compute=Nearest(k, estimator._y, classes, weighted),
        ),
    )


def _nearest(distances: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Indices (N, k) of the smallest of distances (N, samples); of equal ones the first."""
    if k >= distances.shape[1]:
        return np.argsort(distances, axis=1, kind="stable")
    found = np.argpartition(distances, k - 1, axis=1)[:, :k]
    last = np.take_along_axis(distances, found, axis=1).max(1, keepdims=True)
    tied = np.flatnonzero((distances <= last).sum(1) > k)  # where the partition took any of several
    found[tied] = np.argsort(distances[tied], axis=1, kind="stable")[:, :k]
    return found
