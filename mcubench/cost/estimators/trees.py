"""Decision trees, forests and boosted trees: a comparison a level.

Formulas: scikit-learn's ``Tree.apply`` takes one test ``x[feature] <= threshold`` a level, so a tree costs its depth at
worst and the length of the way to a leaf for a sample. A forest adds up the leaves' class probabilities
(``ForestClassifier.predict_proba``), boosting the leaves' values, one tree a class and iteration (J. H. Friedman,
Greedy function approximation, 2001); the largest sum wins. Additions are no MACs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.tree import DecisionTreeClassifier

from mcubench.cost.estimators.stages import (
    ACCUMULATOR_BITS,
    Computation,
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
    largest,
    not_negative,
    the_class,
)
from mcubench.cost.estimators.tree_layout import (
    LEAF_VALUES,
    SHARES,
    SPLITS,
    THRESHOLDS,
    Tree,
    split_arrays,
    with_thresholds,
)

__all__ = ["ClassOfTree", "SumOfShares", "SumOfValues", "trees_of"]


@dataclass(frozen=True)
class ClassOfTree:
    """The class of the leaf that a sample gets to.

    Attributes:
        tree: The tree.
        classes: Class of each node, int, shape (nodes,).
    """

    tree: Tree
    classes: NDArray[Any]

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Classes (N, 1) of x (N, features)."""
        (tree,) = with_thresholds([self.tree], numbers[THRESHOLDS])
        return np.asarray(self.classes[tree.leaves(x)[0]])[:, None]


@dataclass(frozen=True)
class SumOfShares:
    """The sum over trees of the shares of classes in the leaves that a sample gets to.

    Attributes:
        trees: The trees.
        leaf_numbers: For each tree what its leaves store, int, shape (nodes,): a class, or from `classes` on a row of
            the shares that are stored.
        classes: How many there are.
    """

    trees: Sequence[Tree]
    leaf_numbers: Sequence[NDArray[Any]]
    classes: int

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Sums (N, classes) for x (N, features)."""
        table = np.concatenate([np.eye(self.classes), numbers[SHARES].reshape(-1, self.classes)])
        sums = np.zeros((len(x), self.classes))
        for tree, own in zip(with_thresholds(self.trees, numbers[THRESHOLDS]), self.leaf_numbers, strict=True):
            sums += table[own[tree.leaves(x)[0]]]
        return sums


@dataclass(frozen=True)
class SumOfValues:
    """Scores that trees add a number each to: in turn, and beginning with a bias.

    Attributes:
        trees: The trees.
        scores: How many scores there are.
    """

    trees: Sequence[Tree]
    scores: int

    @property
    def leaf_numbers(self) -> list[NDArray[Any]]:
        """For each tree where the values of its leaves stand among those of all trees, int, shape (nodes,)."""
        starts = np.cumsum([0, *(len(tree.leaf_values) for tree in self.trees)])
        return [start + np.cumsum(tree.left < 0) - 1 for tree, start in zip(self.trees, starts, strict=False)]

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Scores (N, scores) for x (N, features)."""
        sums = np.broadcast_to(numbers["bias"], (len(x), self.scores)).astype(np.float64)
        trees = zip(with_thresholds(self.trees, numbers[THRESHOLDS]), self.leaf_numbers, strict=True)
        for index, (tree, own) in enumerate(trees):
            sums[:, index % self.scores] += numbers[LEAF_VALUES][own[tree.leaves(x)[0]]]
        return sums


@singledispatch
def trees_of(_estimator: Any) -> list[Tree]:
    """The trees of a fitted classifier; none, if it has none."""
    return []


@trees_of.register
def _(estimator: DecisionTreeClassifier) -> list[Tree]:
    return [_tree(estimator)]


@trees_of.register(ExtraTreesClassifier)
@trees_of.register(GradientBoostingClassifier)
@trees_of.register(RandomForestClassifier)
def _(estimator: Any) -> list[Tree]:
    return [_tree(each) for each in np.ravel(estimator.estimators_)]


@trees_of.register
def _(estimator: HistGradientBoostingClassifier) -> list[Tree]:
    trees = []
    for predictor in (each for iteration in estimator._predictors for each in iteration):
        nodes, leaf = predictor.nodes, predictor.nodes["is_leaf"].astype(bool)
        left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
        values = nodes["value"][:, None]
        trees.append(Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], values, np.float64))
    return trees


def _tree(estimator: Any) -> Tree:
    tree = estimator.tree_
    values = tree.value[:, 0]
    return Tree(tree.children_left, tree.children_right, tree.feature, tree.threshold, values, np.float32)


@classifying.register
def _single(estimator: DecisionTreeClassifier) -> Stages:
    """A leaf stores its class: only that is asked for."""
    bits, trees = class_bits(estimator), trees_of(estimator)
    leaves = Stored("leaves' classes", "constant", len(trees[0].leaf_values), bits)
    stored = (*split_arrays(trees), leaves)
    notes = (SPLITS, f"tree: a leaf stores its class ({bits // 8} B)")
    op = f"{type(estimator).__name__}: depth {trees[0].depth}"
    return (
        Stage(
            op,
            1,
            comparisons=trees[0].depth,
            stored=stored,
            output_bits=bits,
            notes=notes,
            compute=ClassOfTree(trees[0], trees[0].values.argmax(1)),
            decide=the_class,
        ),
    )


@classifying.register(ExtraTreesClassifier)
@classifying.register(RandomForestClassifier)
def _forest(estimator: Any) -> Stages:
    """A leaf stores a number: its class, if it is pure; else a row of probabilities', which equal leaves share."""
    class_bits(estimator)
    trees, classes = trees_of(estimator), len(estimator.classes_)
    leaves = np.concatenate([tree.leaf_values for tree in trees])
    rows = np.unique(leaves[np.count_nonzero(leaves, axis=1) > 1], axis=0)
    bits = index_bits(classes + len(rows))
    stored = (
        Stored("leaves' numbers", "constant", len(leaves), bits),
        kept(SHARES, rows, rounding="unit"),
    )
    note = f"forest: a leaf stores a number ({bits // 8} B), its class" + (
        f" where it is pure, else that of one of {len(rows):,} rows of {classes} probabilities at the weights' width"
        if len(rows)
        else ", as all are pure"
    )
    places = {row.tobytes(): place for place, row in enumerate(rows, classes)}
    numbers_of = [np.array([_number(row, places) for row in tree.values]) for tree in trees]

    return _summed(estimator, trees, classes, stored, note, SumOfShares(trees, numbers_of, classes))


def _number(row: NDArray[Any], places: Mapping[bytes, int]) -> int:
    """The number of a leaf: its class if it is pure, else the place of its probabilities; 0 of nodes that are none."""
    return int(row.argmax()) if np.count_nonzero(row) == 1 else places.get(row.tobytes(), 0)


@classifying.register
def _boosted(estimator: GradientBoostingClassifier) -> Stages:
    """The learning rate is part of what leaves store."""
    if estimator.init_ == "zero":
        start = np.zeros(estimator.estimators_.shape[1])
    elif isinstance(estimator.init_, DummyClassifier):
        # What sklearn.ensemble._gb adds the trees to: the log-odds of two classes, the logarithms of more.
        prior = estimator.init_.class_prior_
        start = np.log(prior[1:] / prior[0]) if len(prior) == 2 else np.log(prior)
    else:
        raise NotPricedError("it starts from another estimator's predictions")
    return _added(estimator, start, estimator.learning_rate, at_zero=1)


@classifying.register
def _histogram(estimator: HistGradientBoostingClassifier) -> Stages:
    if estimator.is_categorical_ is not None:
        raise NotPricedError("it has categorical features")
    return _added(estimator, np.ravel(estimator._baseline_prediction), rate=1.0, at_zero=0)


def _added(estimator: Any, start: NDArray[Any], rate: float, at_zero: int) -> Stages:
    """Trees that give a number each, one tree a score and iteration; of one score, 0 means class `at_zero`."""
    trees, scores = trees_of(estimator), len(start)
    leaves = [rate * tree.leaf_values[:, 0] for tree in trees]
    values = kept(LEAF_VALUES, np.concatenate(leaves), rounding="tensor")
    stored = (values, kept("bias", start, "bias"))

    decide = not_negative if scores == 1 and at_zero else largest
    note = "boosting: a leaf stores its value at the weights' width"
    return _summed(estimator, trees, scores, stored, note, SumOfValues(trees, scores), decide)


def _summed(
    estimator: Any,
    trees: Sequence[Tree],
    scores: int,
    stored: tuple[Stored, ...],
    note: str,
    compute: Computation,
    decide: Callable[[NDArray[Any]], NDArray[np.int64]] = largest,
) -> Stages:
    return (
        Stage(
            f"{type(estimator).__name__}: {len(trees):,} trees",
            outputs=scores,
            comparisons=sum(tree.depth for tree in trees) + argmax(scores),
            stored=(*split_arrays(trees), *stored),
            output_bits=ACCUMULATOR_BITS,
            notes=(SPLITS, note),
            compute=compute,
            decide=decide,
        ),
    )
