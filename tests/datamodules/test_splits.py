"""Splits against their definitions: disjoint, complete, and what each kind promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcubench.datamodules.splits import Split, SplitKind
from mcubench.errors import UserError

LABELS = np.repeat(np.arange(4), [40, 40, 80, 20])
SUBJECTS = np.tile(np.arange(6), 30)


def split(
    kind: SplitKind = "stratified", val_fraction: float = 0.2, folds: int | None = None, fold: int = 0, seed: int = 0
):
    return Split(kind, val_fraction, folds, fold, seed).indices(LABELS, SUBJECTS)


@settings(max_examples=60)
@given(
    kind=st.sampled_from(["stratified", "subject", "random"]),
    folds=st.sampled_from([None, 2, 6]),
    seed=st.integers(0, 99),
)
def test_parts_are_disjoint_and_complete(kind: SplitKind, folds: int | None, seed: int) -> None:
    train, val = split(kind, folds=folds, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([train, val])), np.arange(len(LABELS)))
    assert len(val)


@pytest.mark.parametrize("kind", ["stratified", "subject", "random"])
def test_folds_validate_every_sample_once(kind: SplitKind) -> None:
    parts = [split(kind, folds=6, fold=fold)[1] for fold in range(6)]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(LABELS)))


def test_stratified_keeps_the_class_shares() -> None:
    _, val = split("stratified", 0.25)
    assert np.bincount(LABELS[val]).tolist() == [10, 10, 20, 5]


@pytest.mark.parametrize("folds", [None, 3])
def test_subjects_stay_together(folds: int | None) -> None:
    train, val = split("subject", 0.34, folds=folds)
    assert not set(SUBJECTS[train]) & set(SUBJECTS[val])
    assert len(set(SUBJECTS[val])) == 2 if folds == 3 else 3


def test_as_many_folds_as_subjects_leaves_one_out() -> None:
    left_out = [set(SUBJECTS[split("subject", folds=6, fold=fold)[1]]) for fold in range(6)]
    assert sorted(map(tuple, left_out)) == [(subject,) for subject in range(6)]


def test_random_mixes_subjects_which_is_the_leak() -> None:
    train, val = split("random")
    assert set(SUBJECTS[val]) <= set(SUBJECTS[train])


def test_same_seed_same_split() -> None:
    assert all(np.array_equal(a, b) for a, b in zip(split(seed=3), split(seed=3), strict=True))
    assert not np.array_equal(split(seed=3)[1], split(seed=4)[1])


def test_by_subject_every_class_is_on_both_sides() -> None:
    # Class 1 is recorded from subjects 0 and 1 only: of all draws of three, only those that part them will do.
    subjects = np.repeat(np.arange(6), 10)
    labels = np.zeros(60, np.int64)
    labels[[3, 13]] = 1
    for seed in range(20):
        train, val = Split("subject", 0.5, None, 0, seed).indices(labels, subjects)
        assert set(labels[train]) == set(labels[val]) == {0, 1}


def test_by_subject_a_class_of_one_subject_is_refused() -> None:
    subjects = np.repeat(np.arange(6), 10)
    labels = (subjects == 2).astype(np.int64)
    with pytest.raises(UserError, match="every class on both sides"):
        Split("subject", 0.3, None, 0, 0).indices(labels, subjects)
    refused = 0
    for fold in range(6):
        try:
            Split("subject", 0.3, 6, fold, 0).indices(labels, subjects)
        except UserError as error:
            assert "leaves no sample of class 1" in str(error)  # noqa: PT017 - exactly one of six must fail
            refused += 1
    assert refused == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, "val_fraction must be between"),
        ({"val_fraction": 1.0}, "val_fraction must be between"),
        ({"kind": "subjects"}, "split must be one of stratified, subject, random; got 'subjects'"),
        ({"seed": -1}, "split_seed must be 0"),
        ({"val_fraction": 0.001}, "can't be split as asked"),
        ({"kind": "random", "folds": 500}, "can't be split as asked"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"folds": 3, "fold": 3}, "fold must be 0 .. 2, got 3"),
        ({"fold": 1}, "folds is not set"),
        ({"kind": "subject", "folds": 7}, "needs as many subjects, got 6"),
        ({"folds": 21}, "a class with 20 samples"),
    ],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        split(**options)  # type: ignore[arg-type]


def test_by_subject_without_subjects() -> None:
    with pytest.raises(UserError, match="use 'stratified' or 'random'"):
        Split("subject", 0.2, None, 0, 0).indices(LABELS, None)
