"""Samples as they come from a source, and what must be true of them before anything is trained on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import UserError

__all__ = ["Arrays", "checked", "chunks"]

_CHUNK = 1 << 20  # numbers that are looked at in one go: few beside a data set, many beside what a call costs
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Arrays:
    """Samples as they come from the source.

    Attributes:
        x: Shape (N, *input_shape), any real dtype, finite, in the source's own units; batches are float32.
        y: Integers, shape (N,), classes from 0.
        subjects: Integers, shape (N,), who each sample was recorded from; ``None`` where that is not known.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    subjects: NDArray[np.int64] | None = None

    def take(self, indices: NDArray[np.intp]) -> Arrays:
        """The samples at `indices`."""
        return Arrays(self.x[indices], self.y[indices], None if self.subjects is None else self.subjects[indices])


def chunks(samples: int, numbers: int) -> Iterator[slice]:
    """Parts of so many samples, of so many numbers each, that are small beside a data set."""
    step = max(1, _CHUNK // max(1, numbers))
    return (slice(start, min(start + step, samples)) for start in range(0, samples, step))


def checked(arrays: object, where: str, num_classes: int) -> Arrays:
    """What a source gave, with labels and subjects as int64.

    Args:
        arrays: What it gave.
        where: What that is, for messages, as in ``Digits.load, test set``.
        num_classes: The number of classes.

    Raises:
        UserError: If it is nothing to train on: the first thing that is wrong, with the index of the sample.
    """
    if not isinstance(arrays, Arrays):
        raise UserError(f"{where}: must be Arrays(x, y); got {type(arrays).__name__}")
    for name, array in (("x", arrays.x), ("y", arrays.y), ("subjects", arrays.subjects)):
        if not isinstance(array, np.ndarray) and not (name == "subjects" and array is None):
            raise UserError(
                f"{where}: {name} must be a numpy array; got {type(array).__module__}.{type(array).__name__} (of a "
                "tensor, .numpy() gives it; of a list, np.array)"
            )
    x = arrays.x
    if x.ndim < 2 or x.dtype.kind not in "fiub" or x.dtype.itemsize > 8:
        raise UserError(f"{where}: x must be real numbers of shape (N, *input_shape); got {x.dtype} of shape {x.shape}")
    if not len(x):
        raise UserError(f"{where}: has no samples")
    y = _whole(arrays.y, "y", "labels", len(x), where)
    subjects = None if arrays.subjects is None else _whole(arrays.subjects, "subjects", "numbers", len(x), where)
    wrong = np.flatnonzero((y < 0) | (y >= num_classes))
    if wrong.size:
        raise UserError(
            f"{where}: gave labels {y.min()} to {y.max()}; with num_classes {num_classes} they must be 0 to "
            f"{num_classes - 1}. The first that is not is at index {wrong[0]}: {y[wrong[0]]}"
        )
    _check_finite(x, where)
    return Arrays(x, y, subjects)


def _whole(array: NDArray[Any], name: str, what: str, samples: int, where: str) -> NDArray[np.int64]:
    if array.shape != (samples,):
        raise UserError(
            f"{where}: {name} must have a number for each of {samples} samples, shape ({samples},); got {what} of "
            f"shape {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise UserError(f"{where}: {name} must be integers; got {what} of type {array.dtype}")
    return array.astype(np.int64, copy=False)


def _check_finite(x: NDArray[Any], where: str) -> None:
    if x.dtype.kind != "f":
        return
    for part in chunks(len(x), x[:1].size):
        bad = ~(np.abs(x[part]) <= _LARGEST)
        if bad.any():
            place = np.argwhere(bad)[0]
            index = (int(place[0]) + part.start, *map(int, place[1:]))
            raise UserError(
                f"{where}: x must be finite, in the range of float32; the sample at index {index[0]} has {x[index]} at "
                f"{index[1:]}"
            )
