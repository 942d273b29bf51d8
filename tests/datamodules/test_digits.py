"""Digits against scikit-learn's own arrays."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mcubench.datamodules import Digits
from mcubench.errors import UserError


def test_every_digit_is_in_exactly_one_part() -> None:
    module = Digits(size=8)
    scaling = module.describe()["inputs"]["scaling"]
    parts = [
        np.round(module.arrays(part)[0] * scaling["std"][0] + scaling["mean"][0]) for part in ("train", "val", "test")
    ]
    assert [len(part) for part in parts] == [1149, 288, 360]
    rebuilt = np.concatenate(parts).reshape(-1, 64)
    original = load_digits().data
    assert np.array_equal(rebuilt[np.lexsort(rebuilt.T)], original[np.lexsort(original.T)])


def test_the_test_set_is_always_the_same() -> None:
    ours = Digits(size=8).arrays("test")[1]
    other = Digits(size=8, split="random", val_fraction=0.3, split_seed=9, seed=4).arrays("test")[1]
    assert np.array_equal(ours, other)


@pytest.mark.parametrize("size", [8, 16, 28])
def test_shape_is_known_before_loading_and_right_after(size: int) -> None:
    module = Digits(size=size)
    assert module.input_shape == (1, size, size)
    assert module.arrays("test")[0].shape == (360, 1, size, size)


def test_resizing_keeps_the_mean_brightness() -> None:
    # Bilinear interpolation with aligned cells averages: a digit's mean changes little.
    small, large = Digits(size=8).load()[1], Digits(size=28).load()[1]
    assert np.allclose(small.x.mean((1, 2, 3)), large.x.mean((1, 2, 3)), atol=0.6)


def test_wrong_size() -> None:
    with pytest.raises(UserError, match="size must be at least 1"):
        Digits(size=0)


def test_no_subjects() -> None:
    with pytest.raises(UserError, match="needs data with subjects"):
        Digits(split="subject").setup()
