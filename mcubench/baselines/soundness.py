"""Whether the trees of a saved estimator stay within their arrays: compiled code walks them without looking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from mcubench.errors import UserError

__all__ = ["check_trees"]


def check_trees(estimator: BaseEstimator) -> None:
    """Refuses trees whose nodes point elsewhere than to later nodes, or test features that are not there.

    Raises:
        UserError: If there is such a node: predicting would crash, or never end.
    """
    for left, right, feature, leaf, features in _trees(estimator, 0, set()):
        nodes, split = np.arange(len(leaf)), ~leaf
        for child in (left[split].astype(int), right[split].astype(int)):
            if (child <= nodes[split]).any() or (child >= len(leaf)).any():
                raise UserError("the saved estimator is damaged: a node of a tree leads nowhere")
        if not len(leaf) or (feature[split] < 0).any() or (feature[split] >= features).any():
            raise UserError("the saved estimator is damaged: a node of a tree tests a feature that is not there")


_Arrays = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_], int]


def _trees(part: Any, features: int, seen: set[int]) -> Iterator[_Arrays]:
    """All trees in an estimator: left and right children, features, which nodes are leaves, and how many features."""
    if id(part) in seen:
        return
    seen.add(id(part))
    if type(part).__name__ == "Tree":  # the compiled classes have no other name
        left = part.children_left
        yield left, part.children_right, part.feature, left == -1, features
    elif type(part).__name__ == "TreePredictor":
        nodes = part.nodes
        yield nodes["left"], nodes["right"], nodes["feature_idx"], nodes["is_leaf"].astype(bool), features
    elif isinstance(part, dict):
        for each in part.values():
            yield from _trees(each, features, seen)
    elif isinstance(part, (list, tuple)) or (isinstance(part, np.ndarray) and part.dtype == object):
        for each in part.flat if isinstance(part, np.ndarray) else part:
            yield from _trees(each, features, seen)
    elif isinstance(part, BaseEstimator):
        yield from _trees(vars(part), getattr(part, "n_features_in_", features), seen)
