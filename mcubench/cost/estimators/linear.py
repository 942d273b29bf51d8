"""Linear classifiers and projections: a dense layer each.

Formulas: y = W x + b as scikit-learn's ``LinearClassifierMixin.decision_function`` computes it, one row of W a class
and a single one for two classes; the class is that of the largest score, or the sign of the only one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, RidgeClassifierCV, SGDClassifier
from sklearn.svm import LinearSVC

from mcubench.cost.estimators.stages import Stages, argmax, classifying, dense, transforming

__all__: list[str] = []


@classifying.register(LinearDiscriminantAnalysis)
@classifying.register(LinearSVC)
@classifying.register(LogisticRegression)
@classifying.register(Perceptron)
@classifying.register(RidgeClassifier)
@classifying.register(RidgeClassifierCV)
@classifying.register(SGDClassifier)
def _linear(estimator: Any) -> Stages:
    weight = np.atleast_2d(estimator.coef_)
    bias = np.broadcast_to(estimator.intercept_, len(weight))
    return (dense(type(estimator).__name__, weight, bias, comparisons=argmax(len(weight))),)


@transforming.register
def _pca(estimator: PCA) -> Stages:
    """W (x - m) is W x - W m, and whitening is another W."""
    weight = estimator.components_
    if estimator.whiten:
        deviations = np.sqrt(estimator.explained_variance_)
        weight = weight / np.maximum(deviations, np.finfo(deviations.dtype).eps)[:, None]
    return (dense("PCA", weight, -weight @ estimator.mean_),)
