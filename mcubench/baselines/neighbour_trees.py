"""Search trees of nearest-neighbour estimators: left out of files, and built again from the samples in them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.neighbors import BallTree, KDTree

__all__ = ["built_again", "left_out"]

_KINDS = {"kd_tree": KDTree, "ball_tree": BallTree}


def _searching(owner: Any, seen: set[int]) -> Iterator[Any]:
    """All estimators in an estimator that search by a tree, itself included."""
    if id(owner) in seen:
        return
    seen.add(id(owner))
    if isinstance(owner, BaseEstimator):
        if getattr(owner, "_fit_method", None) in _KINDS:
            yield owner
        parts = list(vars(owner).values())
    elif isinstance(owner, dict):
        parts = list(owner.values())
    elif isinstance(owner, (list, tuple)):
        parts = list(owner)
    elif isinstance(owner, np.ndarray) and owner.dtype == object:
        parts = list(owner.flat)
    elif type(owner).__module__.startswith("sklearn.") and hasattr(owner, "__dict__"):  # as calibrated ones are
        parts = list(vars(owner).values())
    else:
        return
    for part in parts:
        yield from _searching(part, seen)


@contextlib.contextmanager
def left_out(estimator: BaseEstimator) -> Iterator[None]:
    """While it lasts, an estimator has no search trees: what a file of plain data can't hold."""
    trees = [(each, each._tree) for each in _searching(estimator, set())]
    try:
        for each, _ in trees:
            each._tree = None
        yield
    finally:
        for each, tree in trees:
            each._tree = tree


def built_again(estimator: BaseEstimator) -> None:
    """Builds the search trees that were left out, as the estimator's own fit did: they depend on nothing random."""
    for each in _searching(estimator, set()):
        if each._tree is None:
            kind = _KINDS[each._fit_method]
            each._tree = kind(
                each._fit_X, each.leaf_size, metric=each.effective_metric_, **each.effective_metric_params_
            )
