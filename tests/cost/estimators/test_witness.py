"""The report of every estimator against its evaluation in plain loops: predictions, operations, bytes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import LogisticRegression, Perceptron, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC, NuSVC
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from mcubench.cost import BitWidths, CostReport, profile
from mcubench.cost.estimators import pricing
from tests.cost.estimators.plain import Plain

ESTIMATORS = {
    "logistic regression": LogisticRegression(max_iter=200),
    "without bias": LogisticRegression(max_iter=200, fit_intercept=False),
    "linear SVM": LinearSVC(random_state=0, max_iter=300),
    "SGD": SGDClassifier(random_state=0),
    "ridge": RidgeClassifier(),
    "perceptron": Perceptron(random_state=0),
    "discriminant": LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1),
    "SVM, rbf": SVC(),
    "SVM, rbf, few": SVC(C=0.01, gamma=0.001),
    "SVM, poly": SVC(kernel="poly", degree=2, coef0=1.0),
    "SVM, sigmoid": SVC(kernel="sigmoid", gamma=1e-4, coef0=-0.5),
    "SVM, linear": SVC(kernel="linear"),
    "nu-SVM": NuSVC(nu=0.1),
    "tree": DecisionTreeClassifier(random_state=0),
    "tree of depth 4": DecisionTreeClassifier(max_depth=4, random_state=0),
    "tree with few leaves": DecisionTreeClassifier(max_leaf_nodes=12, random_state=0),
    "stump": DecisionTreeClassifier(max_depth=1),
    "extra tree": ExtraTreeClassifier(random_state=0),
    "forest": RandomForestClassifier(12, random_state=0),
    "forest of depth 3": RandomForestClassifier(7, max_depth=3, random_state=0),
    "forest of many rows": RandomForestClassifier(30, max_depth=5, random_state=0),
    "extra trees": ExtraTreesClassifier(5, min_samples_leaf=3, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=4, random_state=0),
    "histogram boosting": HistGradientBoostingClassifier(max_iter=4, random_state=0),
    "1 neighbour": KNeighborsClassifier(1, algorithm="brute"),
    "5 neighbours": KNeighborsClassifier(5),
    "7 neighbours by distance": KNeighborsClassifier(7, weights="distance"),
    "Gaussian Bayes": GaussianNB(var_smoothing=1e-3),
    "Bernoulli Bayes": BernoulliNB(binarize=8.0),
    "multinomial Bayes": MultinomialNB(),
    "MLP": MLPClassifier((12,), max_iter=30, random_state=0),
    "MLP of tanh": MLPClassifier((12, 6), activation="tanh", max_iter=30, random_state=0),
    "MLP of sigmoids": MLPClassifier((9,), activation="logistic", max_iter=30, random_state=0),
    "linear MLP": MLPClassifier((5,), activation="identity", max_iter=30, random_state=0),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "centred only": make_pipeline(StandardScaler(with_std=False), LinearSVC(random_state=0, max_iter=300)),
    "scaled by quartiles": make_pipeline(RobustScaler(), LogisticRegression()),
    "scaled by the largest": make_pipeline(MaxAbsScaler(), LogisticRegression()),
    "scaled to a range": make_pipeline(MinMaxScaler((-1, 1)), KNeighborsClassifier(3)),
    "clipped": make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
    "components": make_pipeline(PCA(10, random_state=0), SVC()),
    "whitened": make_pipeline(PCA(8, whiten=True, random_state=0), GaussianNB()),
    "of length 1": make_pipeline(Normalizer(), LogisticRegression()),
    "Nystroem": make_pipeline(Nystroem(gamma=0.001, n_components=20, random_state=0), LogisticRegression()),
    "random features": make_pipeline(RBFSampler(gamma=0.001, n_components=15, random_state=0), LogisticRegression()),
    "chosen": make_pipeline(SelectKBest(k=12), DecisionTreeClassifier(random_state=0)),
    "a long way": make_pipeline(
        VarianceThreshold(0.5), "passthrough", make_pipeline(StandardScaler(), PCA(9, random_state=0)), GaussianNB()
    ),
}
TREES = [name for name in ESTIMATORS if any(word in name for word in ("tree", "stump", "forest", "boosting", "chosen"))]
TRAINED, ASKED = 240, 6


@cache
def digits(classes: int) -> tuple[Any, Any]:
    x, y = load_digits(return_X_y=True)
    return x[y < classes].astype(np.float32), y[y < classes]


@cache
def fitted(name: str, classes: int) -> tuple[Any, Any]:
    x, y = digits(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is trained briefly does not converge
        estimator = clone(ESTIMATORS[name]).fit(x[:TRAINED], y[:TRAINED])
    return estimator, x[TRAINED : TRAINED + ASKED]


def compare(estimator: Any, rows: Any, report: CostReport) -> None:
    """Everything that plain loops show without bit widths."""
    plain = Plain(estimator)
    found = [plain.predict(row) for row in rows]
    assert [each.prediction for each in found] == estimator.predict(rows).tolist()
    assert {each.macs for each in found} == {report.macs}
    assert {each.functions for each in found} == {report.functions}
    assert {each.products for each in found} == {products(report)}
    assert plain.bytes == report.flash_bytes
    if report.mean_comparisons is None:
        assert {each.comparisons for each in found} == {report.comparisons}
    else:  # not more than at worst, which `test_the_worst_case_occurs` has
        assert np.mean([each.comparisons for each in found]) == pytest.approx(report.mean_comparisons)
        assert max(each.comparisons for each in found) <= (report.comparisons or 0)


def products(report: CostReport) -> int:
    said = [note for note in report.notes if "multiplications of single elements" in note]
    return int(said[0].split()[0].replace(",", "")) if said else 0


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_plain_loops_agree(name: str, classes: int) -> None:
    estimator, rows = fitted(name, classes)
    report = profile(estimator, rows, BitWidths(32, 32))
    assert (report.mean_comparisons is not None) == (name in TREES)
    compare(estimator, rows, report)


@pytest.mark.parametrize("name", [name for name in TREES if "forest" not in name and name != "extra trees"])
def test_the_worst_case_occurs(name: str) -> None:
    """Every leaf has a training sample, but those of forests share samples: one takes the longest way in each tree."""
    estimator, _ = fitted(name, 10)
    x, _ = digits(10)
    plain, worst = Plain(estimator), profile(estimator, x[:1]).comparisons
    most = max(plain.predict(row).comparisons for row in x[:TRAINED])
    if "boosting" in name:  # so many trees rarely have their longest ways for the same sample
        assert most <= (worst or 0)
        depths = (
            [each.get_depth() for each in estimator.estimators_.flat]
            if name == "boosting"
            else [int(each.nodes["depth"].max()) for row in estimator._predictors for each in row]
        )
        assert worst == sum(depths) + 9
    else:
        assert most == worst


@pytest.mark.parametrize("name", ["forest", "forest of depth 3", "extra trees"])
def test_a_forest_at_worst_is_its_trees_at_worst(name: str) -> None:
    estimator, rows = fitted(name, 10)
    assert profile(estimator, rows).comparisons == sum(each.get_depth() for each in estimator.estimators_) + 9


@settings(max_examples=25)
@given(
    kind=st.sampled_from([LogisticRegression, GaussianNB, DecisionTreeClassifier, SVC, KNeighborsClassifier]),
    features=st.integers(3, 12),
    classes=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_any_size_agrees(kind: type, features: int, classes: int, seed: int) -> None:
    x, y = make_classification(
        60, features, n_informative=3, n_redundant=0, n_classes=classes, n_clusters_per_class=1, random_state=seed
    )  # fmt: skip
    x = x.astype(np.float32)
    estimator = kind().fit(x[:50], y[:50])
    compare(estimator, x[50:], profile(estimator, x[50:], BitWidths(32, 32)))


def test_many_features_take_two_bytes_each() -> None:
    x = np.random.default_rng(0).normal(size=(60, 300)).astype(np.float32)
    estimator = DecisionTreeClassifier(random_state=0).fit(x, np.arange(60) % 3)
    compare(estimator, x[:5], profile(estimator, x[:5], BitWidths(32, 32)))


@pytest.mark.parametrize(
    ("what", "change"),
    {
        "macs": lambda stage: replace(stage, macs=stage.macs + 1),
        "comparisons": lambda stage: replace(stage, comparisons=stage.comparisons + 1),
        "functions": lambda stage: replace(stage, functions=stage.functions + 1),
        "products": lambda stage: replace(stage, products=stage.products + 1),
        "stored": lambda stage: replace(
            stage, stored=(replace(stage.stored[0], count=stage.stored[0].count - 1), *stage.stored[1:])
        ),
    }.items(),
)
@pytest.mark.parametrize(
    "name", ["logistic regression", "SVM, rbf", "tree", "forest", "5 neighbours", "Gaussian Bayes"]
)
def test_a_formula_off_by_one_is_seen(
    name: str, what: str, change: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimator, rows = fitted(name, 10)

    def wrong(*args: Any) -> Any:
        first, *others = original(*args)
        return (change(first), *others)

    original = pricing.priced
    compare(estimator, rows, profile(estimator, rows, BitWidths(32, 32)))
    monkeypatch.setattr(pricing, "priced", wrong)
    with pytest.raises(AssertionError):
        compare(estimator, rows, profile(estimator, rows, BitWidths(32, 32)))
