"""The fitted models that are compared, all on raw brightnesses: integers, which every writer's numbers hold exactly.

Most are fitted to scikit-learn's digits, of 64 features: C that is written out term by term takes gcc a minute a core
for ten dot products of MNIST's 784, and longer for a forest.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from mcubench.datamodules import MNIST

__all__ = ["Case", "cases"]

_TRAINING = 10_000  # samples of MNIST
_DIGITS = 1_000  # samples of scikit-learn's digits that trees are fitted to
_VECTORS = 100  # samples of them that machines with kernels are fitted to
_STORED = 500  # samples of MNIST that neighbours are searched among
_TREES = 10
_DEPTH = 8  # of forests of digits
_DEEP = 10  # of trees of MNIST


@dataclass(frozen=True)
class Case:
    """A fitted model and what it is tested on.

    Attributes:
        name: Of the model and its data.
        estimator: As scikit-learn fitted it.
        x: Test samples, uint8, shape (N, features).
        y: Their classes, int64, shape (N,).
        train: Some training samples, uint8, shape (M, features).
    """

    name: str
    estimator: Any
    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    train: NDArray[np.uint8]

    @property
    def wanted(self) -> NDArray[np.int64]:
        """Indices of the classes that scikit-learn answers, shape (N,)."""
        return np.searchsorted(self.estimator.classes_, self.estimator.predict(self.x.astype(np.float64)))


def cases(root: Path | None) -> list[Case]:
    """All models, fitted.

    Args:
        root: Where data are; ``None``, as of mcubench.
    """
    source = MNIST(root=None if root is None else str(root))
    (train, test) = source.load()
    mnist = _Set("MNIST", train.x, train.y, test.x, test.y)
    x, y = load_digits(return_X_y=True)
    digits = _Set("digits", x[:_DIGITS], y[:_DIGITS], x[_DIGITS:], y[_DIGITS:])
    few = _Set("digits", x[:_VECTORS], y[:_VECTORS], x[_VECTORS:], y[_VECTORS:])
    eights = _Set("digits", few.x, few.y == 8, few.x_test, few.y_test == 8)
    # One of micromlgen's conditions: a number, which is what "scale" means.
    gamma = float(1 / (few.x.shape[1] * few.x.var()))
    forest = {"n_estimators": _TREES, "max_depth": _DEPTH, "random_state": 0}
    return [
        mnist.fitted("decision tree", DecisionTreeClassifier(max_depth=_DEEP, random_state=0), _TRAINING),
        mnist.fitted("20 trees", RandomForestClassifier(20, max_depth=_DEEP, random_state=0), _TRAINING),
        digits.fitted("decision tree", DecisionTreeClassifier(random_state=0)),
        digits.fitted("random forest", RandomForestClassifier(**forest)),
        digits.fitted("extra trees", ExtraTreesClassifier(**forest)),
        digits.fitted("LinearSVC", LinearSVC(random_state=0)),
        digits.fitted("LogisticRegression", LogisticRegression(max_iter=200)),
        few.fitted("SVC, rbf", SVC(gamma=gamma)),
        few.fitted("SVC, poly", SVC(kernel="poly", gamma=gamma)),
        eights.fitted("SVC, rbf, eight or not", SVC(gamma=gamma)),
        mnist.fitted("GaussianNB", GaussianNB(), _TRAINING),
        digits.fitted("GaussianNB", GaussianNB()),
        mnist.fitted("5 neighbours", KNeighborsClassifier(5, algorithm="brute"), _STORED),
        mnist.fitted("MLPClassifier, 42", MLPClassifier((42,), max_iter=10, random_state=0), _TRAINING),
    ]


class _Set:
    """Data to fit to, and to test on."""

    def __init__(self, name: str, x: Any, y: Any, x_test: Any, y_test: Any) -> None:
        self.name = name
        self.x, self.x_test = (each.reshape(len(each), -1).astype(np.uint8) for each in (x, x_test))
        self.y, self.y_test = (each.astype(np.int64) for each in (y, y_test))

    def fitted(self, name: str, estimator: Any, samples: int | None = None) -> Case:
        """A model, fitted to the first samples."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # what is compared is one model, not a good one
            estimator.fit(self.x[:samples].astype(np.float64), self.y[:samples])
        return Case(f"{name}, {self.name}", estimator, self.x_test, self.y_test, self.x[:_TRAINING])
