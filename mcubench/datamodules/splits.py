"""Cuts the validation part from the training set: stratified, by subject or at random; once, or as one of k folds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import UserError

__all__ = ["Split", "SplitKind"]

SplitKind = Literal["stratified", "subject", "random"]
Indices = NDArray[np.intp]

# Draws of whole subjects until both parts hold every class; HAPT needs a handful.
_SUBJECT_DRAWS = 200


@dataclass(frozen=True)
class Split:
    """How the validation part is chosen.

    Attributes:
        kind: ``stratified`` keeps the class shares, ``subject`` keeps each subject's samples together, ``random``
            does neither: neighbouring samples of one recording land on both sides, and validation looks better than
            it is.
        val_fraction: Share of samples (``subject``: of subjects) that validate. Not used with `folds`.
        folds: Number of folds for cross-validation, or ``None`` for one split. With ``subject``, as many folds as
            there are subjects is leave-one-subject-out.
        fold: Which fold validates, from 0.
        seed: Seed of the choice.
    """

    kind: SplitKind
    val_fraction: float
    folds: int | None
    fold: int
    seed: int

    def __post_init__(self) -> None:
        if self.kind not in get_args(SplitKind):
            raise UserError(f"split must be one of {', '.join(get_args(SplitKind))}; got {self.kind!r}")
        if not 0 <= self.seed < 2**32:
            raise UserError(f"split_seed must be 0 .. 2**32 - 1, got {self.seed}")
        if not 0 < self.val_fraction < 1:
            raise UserError(f"val_fraction must be between 0 and 1 (both excluded), got {self.val_fraction}")
        if self.folds is not None and self.folds < 2:
            raise UserError(f"folds must be at least 2, got {self.folds}")
        if not 0 <= self.fold < (self.folds or 1):
            allowed = f"0 .. {self.folds - 1}" if self.folds else "0 (folds is not set)"
            raise UserError(f"fold must be {allowed}, got {self.fold}")

    def describe(self) -> dict[str, Any]:
        """The choice as plain values, for a result row."""
        values = asdict(self)
        if self.folds is not None:
            values["val_fraction"] = None
        return values

    def indices(self, labels: NDArray[np.int64], subjects: NDArray[np.int64] | None) -> tuple[Indices, Indices]:
        """Chooses the samples to train on and those to validate on.

        Args:
            labels: Class of each sample, shape (N,).
            subjects: Subject of each sample, shape (N,); needed by ``subject`` only.

        Returns:
            Two sorted, disjoint arrays that together hold ``0 .. N-1``.

        Raises:
            UserError: If the data can't be cut this way: no subjects, too few of them or of a class, or a class that
                would be missing from the training part (``subject``: or, without `folds`, from validation).
        """
        try:
            if self.kind != "subject":
                return self._by_sample(labels)
            if subjects is None:
                raise UserError("split 'subject' needs data with subjects; use 'stratified' or 'random'")
            return self._by_subject(labels, subjects)
        except UserError:
            raise
        except ValueError as error:  # scikit-learn's, of parts that would be empty or too small
            raise UserError(f"{len(labels)} samples can't be split as asked: {error}") from None

    def _by_sample(self, labels: NDArray[np.int64]) -> tuple[Indices, Indices]:
        stratify = self.kind == "stratified"
        smallest = int(np.bincount(labels)[np.unique(labels)].min())
        if stratify and smallest < (self.folds or 2):
            raise UserError(f"a class with {smallest} samples can't be stratified over {self.folds or 2} parts")
        from sklearn import model_selection

        splitter: Any
        if self.folds is None:
            chooser = model_selection.StratifiedShuffleSplit if stratify else model_selection.ShuffleSplit
            splitter = chooser(1, test_size=self.val_fraction, random_state=self.seed)
        else:
            chooser = model_selection.StratifiedKFold if stratify else model_selection.KFold
            splitter = chooser(self.folds, shuffle=True, random_state=self.seed)
        return self._chosen(splitter.split(labels, labels))

    def _chosen(self, folds: Iterator[tuple[Indices, Indices]]) -> tuple[Indices, Indices]:
        """The fold that is asked for; of thousands, all together would not fit into memory."""
        return _sorted(next(itertools.islice(folds, self.fold, None)))

    def _by_subject(self, labels: NDArray[np.int64], subjects: NDArray[np.int64]) -> tuple[Indices, Indices]:
        from sklearn import model_selection

        known = np.unique(subjects)
        if len(known) < (self.folds or 2):
            raise UserError(f"split 'subject' over {self.folds or 2} parts needs as many subjects, got {len(known)}")
        classes = np.unique(labels)
        if self.folds is not None:
            splitter = model_selection.GroupKFold(self.folds, shuffle=True, random_state=self.seed)
            train, val = self._chosen(splitter.split(labels, groups=subjects))
            missing = np.setdiff1d(classes, labels[train])
            if missing.size:
                raise UserError(f"fold {self.fold} of {self.folds} leaves no sample of class {missing[0]} to train on")
            return train, val
        draws = model_selection.GroupShuffleSplit(_SUBJECT_DRAWS, test_size=self.val_fraction, random_state=self.seed)
        for draw in draws.split(labels, groups=subjects):
            train, val = _sorted(draw)
            if all(np.array_equal(np.unique(labels[part]), classes) for part in (train, val)):
                return train, val
        raise UserError(
            f"no draw of {self.val_fraction:.0%} of the {len(known)} subjects leaves every class on both sides; "
            "raise val_fraction or use folds"
        )


def _sorted(split: tuple[Indices, Indices]) -> tuple[Indices, Indices]:
    return np.sort(split[0]), np.sort(split[1])
