"""Support vector machines with kernels, and the approximation of a kernel.

Formulas: libsvm 3, svm.cpp. ``Kernel::k_function`` takes every support vector once: the sum of the squared differences
for ``rbf``, a dot product for the others, then exp, pow or tanh. ``svm_predict_values`` takes, for every pair of
classes, the coefficients of the support vectors of both, and the sign is a vote; the most votes win.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.svm import SVC, NuSVC

from mcubench.cost.estimators.stages import (
    Affine,
    NotPricedError,
    Numbers,
    Stage,
    Stages,
    Stored,
    argmax,
    class_bits,
    classifying,
    dense,
    kept,
    squared_distances,
    transforming,
)

__all__ = ["Decisions", "KernelValues", "Votes"]


@classifying.register(SVC)
@classifying.register(NuSVC)
def _kernel_machine(estimator: Any) -> Stages:
    name, classes = type(estimator).__name__, len(estimator.classes_)
    pairs = classes * (classes - 1) // 2
    if estimator.break_ties and classes > 2:
        raise NotPricedError("break_ties compares decision values, not votes")
    vectors = len(estimator.support_vectors_)
    signs = 1 if pairs == 1 else 0  # of two classes the sign says it all
    if estimator.kernel == "linear":  # the vectors of a pair add up to one
        decisions: Stages = (
            dense(f"{name}: {pairs} pairs", estimator.coef_, estimator.intercept_, comparisons=signs, path="decision"),
        )
    else:
        stored = (
            kept("dual coefficients", estimator.dual_coef_, rounding="tensor"),
            kept("bias", estimator.intercept_, "bias"),
            Stored("requantisation", "requantisation", pairs),
        )
        # A vector takes part against every other class: the sum over pairs of both classes' vectors.
        decision = Stage(
            f"{name}: {pairs} pair{'s' * (pairs > 1)}",
            outputs=pairs,
            macs=(classes - 1) * vectors,
            comparisons=signs,
            bias_adds=pairs,
            stored=stored,
            path="decision",
            compute=Decisions(np.cumsum([0, *estimator.n_support_])),
        )
        gamma, coef0, degree = estimator._gamma, estimator.coef0, estimator.degree
        decisions = (_kernel(name, estimator.kernel, estimator.support_vectors_, gamma, coef0, degree), decision)
    if pairs == 1:
        return decisions
    votes = Stage(
        f"{name}: votes",
        classes,
        comparisons=pairs + argmax(classes),
        output_bits=class_bits(estimator),
        path="votes",
        compute=Votes(classes),
    )
    return (*decisions, votes)


@dataclass(frozen=True)
class Decisions:
    """For each pair of classes i < j: the vectors of i by their coefficients against j, and those of j against i.

    Attributes:
        ends: Where the vectors of each class begin, and where the last one's end, int, shape (classes + 1,).
    """

    ends: NDArray[Any]

    def weight(self, coefficients: NDArray[Any]) -> NDArray[Any]:
        """Coefficients (classes - 1, vectors) as a matrix (pairs, vectors), most of which is 0."""
        ends, pairs = self.ends, list(combinations(range(len(self.ends) - 1), 2))
        weight = np.zeros((len(pairs), coefficients.shape[1]), coefficients.dtype)
        for row, (i, j) in zip(weight, pairs, strict=True):
            row[ends[i] : ends[i + 1]] = coefficients[j - 1, ends[i] : ends[i + 1]]
            row[ends[j] : ends[j + 1]] = coefficients[i, ends[j] : ends[j + 1]]
        return weight

    def __call__(self, values: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Decisions (N, pairs) for the kernel's values (N, vectors)."""
        return np.asarray(values @ self.weight(numbers["dual coefficients"]).T + numbers["bias"])


@dataclass(frozen=True)
class Votes:
    """How many pairs each class wins: the first of a pair if its decision is above 0."""

    classes: int

    def __call__(self, decisions: NDArray[Any], _numbers: Numbers) -> NDArray[Any]:
        """Votes (N, classes) for decisions (N, pairs)."""
        votes = np.zeros((len(decisions), self.classes))
        for decision, (i, j) in zip(decisions.T, combinations(range(self.classes), 2), strict=True):
            votes[:, i] += decision > 0
            votes[:, j] += decision <= 0
        return votes


@transforming.register
def _nystroem(estimator: Nystroem) -> Stages:
    """The kernel with the vectors kept, then a square matrix."""
    vectors = estimator.components_
    square = dense("Nystroem: projection", estimator.normalization_, path="projection")
    gamma, coef0, degree = estimator.gamma, estimator.coef0, estimator.degree
    if gamma is None:  # as in sklearn.metrics.pairwise, whose defaults these are
        gamma = 1 / vectors.shape[1]
    coef0, degree = 1.0 if coef0 is None else coef0, 3 if degree is None else degree
    return _kernel("Nystroem", estimator.kernel, vectors, gamma, coef0, degree), square


@transforming.register
def _random_features(estimator: RBFSampler) -> Stages:
    """sqrt(2 / n) cos(W x + b)."""
    weight, bias = estimator.random_weights_.T, estimator.random_offset_
    size = len(weight)

    def compute(x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        return np.asarray(np.sqrt(2 / size) * np.cos(Affine()(x, numbers)))

    return (dense("RBFSampler", weight, bias, functions=size, products=size, compute=compute),)


@dataclass(frozen=True)
class KernelValues:
    """A kernel's value for each vector that is kept.

    Attributes:
        kind: ``rbf``: exp(-gamma |x - v|^2); ``poly``: (gamma x v + coef0)^degree; ``sigmoid``: the tanh of what
            ``poly`` has in brackets; ``linear``: x v.
        gamma: Factor.
        coef0: Summand.
        degree: Exponent.
    """

    kind: str
    gamma: float
    coef0: float
    degree: float

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Values (N, vectors) for x (N, features)."""
        vectors = numbers["vectors"]
        if self.kind == "rbf":
            return np.asarray(np.exp(-self.gamma * squared_distances(x, vectors)))
        dots = np.asarray(x @ vectors.T)
        if self.kind == "linear":
            return dots
        dots = self.gamma * dots + numbers["coef0"]
        return np.asarray(np.tanh(dots) if self.kind == "sigmoid" else dots**self.degree)


def _kernel(name: str, kernel: Any, vectors: NDArray[Any], gamma: float, coef0: float, degree: float) -> Stage:
    """A kernel's values; its factor gamma is folded into the vectors where these stand in a dot product."""
    count, features = vectors.shape
    op, weights = f"{name}: {kernel} kernel", kept("vectors", vectors, rounding="input")
    # All vectors have the input's one scale, so one multiplier takes all sums to the function's argument.
    stored: tuple[Stored, ...] = (weights, Stored("requantisation", "requantisation", 1))
    macs = count * features
    computed = KernelValues("poly" if kernel == "polynomial" else kernel, gamma, coef0, degree)
    if kernel == "rbf":
        options: dict[str, Any] = {"functions": count, "products": count}
    elif computed.kind in ("poly", "sigmoid"):
        stored = (weights, kept("coef0", [coef0], "bias"), stored[-1])
        options = {"functions": count, "bias_adds": count}
    elif kernel == "linear":
        options = {}
    else:
        raise NotPricedError(f"there is no formula for the kernel {kernel!r}")
    return Stage(op, count, macs, stored=stored, path="kernel", compute=computed, **options)
