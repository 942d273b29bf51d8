"""Decision trees, forests and boosted trees: a comparison a level.

Formulas: scikit-learn's ``Tree.apply`` takes one test ``x[feature] <= threshold`` a level, so a tree costs its depth at
worst and the length of the way to a leaf for a sample. A forest adds up the leaves' class probabilities
(``ForestClassifier.predict_proba``), boosting the leaves' values, one tree a class and iteration (J. H. Friedman,
Greedy function approximation, 2001); the largest sum wins. Additions are no MACs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import numpy as np
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
    NotPricedError,
    Stage,
    Stages,
    Stored,
    argmax,
    class_bits,
    classifying,
    index_bits,
)
from mcubench.cost.estimators.tree_layout import NODES, Tree, node_arrays

__all__ = ["trees_of"]


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
    stored = (*node_arrays(trees, estimator.n_features_in_), leaves)
    notes = (NODES, f"tree: a leaf stores its class ({bits // 8} B)")
    op = f"{type(estimator).__name__}: depth {trees[0].depth}"
    return (Stage(op, 1, comparisons=trees[0].depth, stored=stored, output_bits=bits, notes=notes),)


@classifying.register(ExtraTreesClassifier)
@classifying.register(RandomForestClassifier)
def _forest(estimator: Any) -> Stages:
    """A leaf stores a number: its class, if it is pure; else a row of probabilities', which equal leaves share."""
    class_bits(estimator)
    trees, classes = trees_of(estimator), len(estimator.classes_)
    leaves = np.concatenate([tree.leaf_values for tree in trees])
    mixed = leaves[np.count_nonzero(leaves, axis=1) > 1]
    rows = len(np.unique(mixed, axis=0))
    bits = index_bits(classes + rows)
    stored = (
        Stored("leaves' numbers", "constant", len(leaves), bits),
        Stored("class probabilities", "weight", rows * classes),
    )
    note = f"forest: a leaf stores a number ({bits // 8} B), its class" + (
        f" where it is pure, else that of one of {rows:,} rows of {classes} probabilities at the weights' width"
        if rows
        else ", as all are pure"
    )
    return _summed(estimator, trees, classes, stored, note)


@classifying.register
def _boosted(estimator: GradientBoostingClassifier) -> Stages:
    """The learning rate is part of what leaves store."""
    if estimator.init_ != "zero" and not isinstance(estimator.init_, DummyClassifier):
        raise NotPricedError("it starts from another estimator's predictions")
    return _added(estimator, estimator.estimators_.shape[1])


@classifying.register
def _histogram(estimator: HistGradientBoostingClassifier) -> Stages:
    if estimator.is_categorical_ is not None:
        raise NotPricedError("it has categorical features")
    return _added(estimator, estimator.n_trees_per_iteration_)


def _added(estimator: Any, scores: int) -> Stages:
    trees = trees_of(estimator)
    leaves = sum(len(tree.leaf_values) for tree in trees)
    stored = (Stored("leaves' values", "weight", leaves), Stored("bias", "bias", scores))
    return _summed(estimator, trees, scores, stored, "boosting: a leaf stores its value at the weights' width")


def _summed(estimator: Any, trees: Sequence[Tree], scores: int, stored: tuple[Stored, ...], note: str) -> Stages:
    return (
        Stage(
            f"{type(estimator).__name__}: {len(trees):,} trees",
            outputs=scores,
            comparisons=sum(tree.depth for tree in trees) + argmax(scores),
            stored=(*node_arrays(trees, estimator.n_features_in_), *stored),
            output_bits=ACCUMULATOR_BITS,
            notes=(NODES, note),
        ),
    )
