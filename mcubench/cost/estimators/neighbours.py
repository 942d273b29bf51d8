"""k nearest neighbours: the whole training set is the model.

Formulas: the squared distance to every stored sample as the sum of squared differences, one MAC a feature (no roots
where only their order counts). The k smallest are kept in order, and each new distance is compared with all of
them, so that the j-th sample takes min(j, k) comparisons whatever the data: n k - k (k + 1) / 2.
"""

from __future__ import annotations

from sklearn.neighbors import KNeighborsClassifier

from mcubench.cost.estimators.stages import (
    ACCUMULATOR_BITS,
    NotPricedError,
    Stage,
    Stages,
    Stored,
    argmax,
    class_bits,
    classifying,
    index_bits,
)

__all__: list[str] = []


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
                Stored("samples", "weight", samples * features),
                Stored("labels", "constant", samples, bits),
            ),
            output_bits=ACCUMULATOR_BITS if weighted else index_bits(k + 1),
            scratch=k * (ACCUMULATOR_BITS + bits) // 8,
        ),
    )
