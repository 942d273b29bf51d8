"""The filter of columns on matrices made by hand."""

from __future__ import annotations

import numpy as np

from mcubench.datamodules.filters import ALIKE, k_best

Y = np.repeat([0, 1, 2], 50)


def noise(scale: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=150)


def test_the_farther_apart_the_means_the_better() -> None:
    x = np.stack([Y + noise(3, 0), noise(1, 1), Y + noise(0.5, 2), -Y + noise(1.5, 3)], axis=1)
    assert k_best(x, Y, range(4), 1).tolist() == [2]
    assert k_best(x, Y, range(4), 2).tolist() == [2, 3]
    assert k_best(x, Y, range(4), 3).tolist() == [0, 2, 3]
    assert k_best(x, Y, [0, 1, 3], 1).tolist() == [3], "only of those to choose from"


def test_of_columns_that_are_alike_one_is_taken() -> None:
    good = Y + noise(0.5, 0)
    twin, poor = -3 * good + 5 + noise(0.1, 1), Y + noise(3, 2)
    assert abs(np.corrcoef(good, twin)[0, 1]) > ALIKE
    x = np.stack([poor, good, twin], axis=1)
    two = k_best(x, Y, range(3), 2)
    assert 0 in two, "a poor one of its own before the twin of a good one"
    assert len(two) == 2
    assert k_best(x, Y, range(3), 3).tolist() == [0, 1, 2], "where no others are left, twins too"


def test_constants_come_last() -> None:
    x = np.stack([np.ones(150), noise(1, 0), np.zeros(150)], axis=1)
    assert k_best(x, Y, range(3), 1).tolist() == [1]
    assert k_best(x, Y, range(3), 3).tolist() == [0, 1, 2]


def test_a_column_that_is_another_name_of_the_class_is_first() -> None:
    x = np.stack([noise(1, 0), Y.astype(float)], axis=1)  # F is infinite
    assert k_best(x, Y, range(2), 1).tolist() == [1]
