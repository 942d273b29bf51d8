"""Support vector machines with kernels, and the approximation of a kernel.

Formulas: libsvm 3, svm.cpp. ``Kernel::k_function`` takes every support vector once: the sum of the squared differences
for ``rbf``, a dot product for the others, then exp, pow or tanh. ``svm_predict_values`` takes, for every pair of
classes, the coefficients of the support vectors of both, and the sign is a vote; the most votes win.
"""

from __future__ import annotations

from typing import Any

from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.svm import SVC, NuSVC

from mcubench.cost.estimators.stages import (
    NotPricedError,
    Stage,
    Stages,
    Stored,
    argmax,
    class_bits,
    classifying,
    dense,
    transforming,
)

__all__: list[str] = []


@classifying.register(SVC)
@classifying.register(NuSVC)
def _kernel_machine(estimator: Any) -> Stages:
    name, classes = type(estimator).__name__, len(estimator.classes_)
    pairs = classes * (classes - 1) // 2
    if estimator.break_ties and classes > 2:
        raise NotPricedError("break_ties compares decision values, not votes")
    vectors, features = estimator.support_vectors_.shape
    signs = 1 if pairs == 1 else 0  # of two classes the sign says it all
    if estimator.kernel == "linear":  # the vectors of a pair add up to one
        decisions: Stages = (
            dense(f"{name}: {pairs} pairs", pairs, features, bias=True, comparisons=signs, path="decision"),
        )
    else:
        stored = (
            Stored("dual coefficients", "weight", (classes - 1) * vectors),
            Stored("bias", "bias", pairs),
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
        )
        decisions = (_kernel(name, estimator.kernel, vectors, features), decision)
    if pairs == 1:
        return decisions
    votes = Stage(
        f"{name}: votes", classes, comparisons=pairs + argmax(classes), output_bits=class_bits(estimator), path="votes"
    )
    return (*decisions, votes)


@transforming.register
def _nystroem(estimator: Nystroem) -> Stages:
    """The kernel with the vectors kept, then a square matrix."""
    vectors, features = estimator.components_.shape
    size = estimator.normalization_.shape[0]
    square = dense("Nystroem: projection", size, vectors, bias=False, path="projection")
    return _kernel("Nystroem", estimator.kernel, vectors, features), square


@transforming.register
def _random_features(estimator: RBFSampler) -> Stages:
    """sqrt(2 / n) cos(W x + b)."""
    features, size = estimator.random_weights_.shape
    return (dense("RBFSampler", size, features, bias=True, functions=size, products=size),)


def _kernel(name: str, kernel: Any, vectors: int, features: int) -> Stage:
    """A kernel's values; its factor gamma is folded into the vectors where these stand in a dot product."""
    op, weights = f"{name}: {kernel} kernel", Stored("vectors", "weight", vectors * features)
    # All vectors have the input's one scale, so one multiplier takes all sums to the function's argument.
    scale = Stored("requantisation", "requantisation", 1)
    macs = vectors * features
    if kernel == "rbf":  # exp(-gamma |x - v|^2)
        stored: tuple[Stored, ...] = (weights, scale)
        return Stage(op, vectors, macs, functions=vectors, products=vectors, stored=stored, path="kernel")
    if kernel in ("poly", "polynomial", "sigmoid"):  # (gamma x v + r)^d, tanh(gamma x v + r)
        stored = (weights, Stored("coef0", "bias", 1), scale)
        return Stage(op, vectors, macs, functions=vectors, bias_adds=vectors, stored=stored, path="kernel")
    if kernel == "linear":
        return Stage(op, vectors, macs, stored=(weights, scale), path="kernel")
    raise NotPricedError(f"there is no formula for the kernel {kernel!r}")
