"""Which columns tell classes apart: a filter, fitted before and without any model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALIKE", "k_best"]

ALIKE = 0.95
"""Columns whose correlation is this or more are taken for one: the second says little that the first does not."""


def k_best(x: NDArray[Any], y: NDArray[np.int64], columns: Sequence[int], k: int) -> NDArray[np.int64]:
    """Chooses the columns whose means differ most between classes, and that are not alike.

    In the order of the F statistic of an analysis of variance, each column is taken that correlates by less than
    `ALIKE` with all that were taken before; if these are too few, the best of the others too.

    Args:
        x: Samples, shape (N, all columns).
        y: Their classes, shape (N,).
        columns: Those to choose from.
        k: How many to take, at most as many as there are.

    Returns:
        The chosen columns in their order.
    """
    from sklearn.feature_selection import f_classif

    chosen_from = np.asarray(columns)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # a column that is constant scores nothing, and so it should
        score, _ = f_classif(x[:, chosen_from], y)
        alike = np.abs(np.corrcoef(x[:, chosen_from], rowvar=False)).reshape(len(columns), -1) >= ALIKE
    by_score = np.argsort(-np.nan_to_num(score), kind="stable").tolist()
    taken: list[int] = []
    for candidate in by_score:
        if not alike[candidate, taken].any():
            taken.append(candidate)
    others = [candidate for candidate in by_score if candidate not in set(taken)]
    return np.sort(chosen_from[(taken + others)[:k]])
