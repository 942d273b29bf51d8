"""Kernel machines: a value for each stored vector, a decision for each pair of classes, and their votes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.quant.classical.float32 import exponential, nearest, squares_in_order, sums_in_order, tanh
from mcubench.quant.classical.kernels.base import ArrayKernel, centred, squared_distances
from mcubench.quant.classical.kernels.dense import step_of
from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["PairDecisions", "PairVotes", "VectorKernel"]


@dataclass(frozen=True, eq=False)
class VectorKernel(ArrayKernel):
    """A function, in float32, of the sum of squared differences to each vector, or of the product with it.

    Attributes:
        kind: ``rbf``: exp(factor s), for the sum of squares s; ``poly``, ``sigmoid`` and ``linear``: (factor s +
            summand)^degree, the tanh of what is in brackets, and factor s, for the sum of products s.
        vectors: Codes of the input's grid, int64, or float32, shape (vectors, features).
        factor: Of a sum.
        summand: What is added.
        degree: A whole number.
    """

    kind: str
    vectors: NDArray[Any]
    factor: np.float32
    summand: np.float32
    degree: int

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Values (N, vectors)."""
        values = self.function(self.sums(x, source))
        if target.real:
            return values
        return nearest(values * step_of(target) + np.float32(target.grid.zero_point), target.grid)

    def sums(self, x: NDArray[Any], source: IntegerTensor) -> NDArray[np.float32]:
        """What the function is of: integers are summed exactly, and rounded once."""
        if source.real:
            return (squares_in_order if self.kind == "rbf" else sums_in_order)(x, self.vectors)
        if self.kind == "rbf":
            return squared_distances(x, self.vectors).astype(np.float32)
        both = (centred(each, source).astype(np.float64) for each in (x, self.vectors))
        first, second = both
        return (first @ second.T).astype(np.int64).astype(np.float32)

    def function(self, sums: NDArray[np.float32]) -> NDArray[np.float32]:
        """The kernel of sums."""
        scaled: NDArray[np.float32] = sums * self.factor
        if self.kind == "rbf":
            return exponential(scaled)
        if self.kind == "linear":
            return scaled
        scaled += self.summand
        if self.kind == "sigmoid":
            return tanh(scaled)
        power = np.ones_like(scaled)
        for _ in range(self.degree):
            power *= scaled
        return power


@dataclass(frozen=True, eq=False)
class PairDecisions(ArrayKernel):
    """For each pair of classes i < j the sum over the vectors of i, by coefficients against j, and the other way round.

    Attributes:
        coefficients: int64 or float32, shape (classes - 1, vectors).
        ends: Where the vectors of each class begin, and the end, int, shape (classes + 1,).
        bias: In steps of the products, int64, or float32, shape (pairs,).
        factor: Steps of the output that a step of the products is; 1 in float32.
    """

    coefficients: NDArray[Any]
    ends: NDArray[Any]
    bias: NDArray[Any]
    factor: np.float32

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Decisions (N, pairs)."""
        if source.real:
            return np.asarray(self._in_order(x) + self.bias)
        sums = [values.sum(1) for values in self._terms(centred(x, source))]
        steps = (np.stack(sums, 1) + self.bias).astype(np.float32) * self.factor + np.float32(target.grid.zero_point)
        return nearest(steps, target.grid)

    def _in_order(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        sums = np.zeros((len(x), len(self.bias)), np.float32)
        for pair, values in enumerate(self._terms(x)):
            for column in values.T:
                sums[:, pair] += column
        return sums

    def _terms(self, x: NDArray[Any]) -> list[NDArray[Any]]:
        """For each pair what is summed, (N, vectors of both)."""
        spans = [slice(*each) for each in zip(self.ends[:-1], self.ends[1:], strict=True)]

        def against(own: int, row: int) -> NDArray[Any]:
            return np.asarray(x[:, spans[own]] * self.coefficients[row, spans[own]])

        pairs = combinations(range(len(spans)), 2)
        return [np.concatenate([against(i, j - 1), against(j, i)], 1) for i, j in pairs]


@dataclass(frozen=True, eq=False)
class PairVotes(ArrayKernel):
    """How many pairs each class wins: the first of a pair if its decision is above 0.

    Attributes:
        classes: How many there are.
    """

    classes: int

    def compute(self, x: NDArray[Any], source: IntegerTensor, target: IntegerTensor) -> NDArray[Any]:
        """Votes (N, classes)."""
        votes = np.zeros((len(x), self.classes), np.int64)
        zero = 0 if source.real else source.grid.zero_point
        for decision, (i, j) in zip(x.T, combinations(range(self.classes), 2), strict=True):
            votes[:, i] += decision > zero
            votes[:, j] += decision <= zero
        return votes
