"""Cuts and scales samples where they lie: of a data set that fills the memory there is no room for a second copy."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.datamodules.arrays import Arrays, chunks
from mcubench.datamodules.scaling import Scaling

__all__ = ["cut", "scaled"]

_HELD_ONCE = 3  # references: its holder's, that of a name here, and that of the argument of `sys.getrefcount`


def _is_held_once(x: NDArray[Any]) -> bool:
    """Whether an array's memory is seen through this array alone, and may be written to.

    A data module may keep what its ``load`` has returned, to return it again: that must stay as it is.

    Args:
        x: The array; the caller holds it through one attribute of one object, and no variable.
    """
    if not x.flags.writeable or sys.getrefcount(x) > _HELD_ONCE:
        return False
    owner = x.base
    if owner is None:
        return True
    return isinstance(owner, np.ndarray) and owner.flags.owndata and sys.getrefcount(owner) <= _HELD_ONCE


def cut(full: Arrays, train: NDArray[np.intp], val: NDArray[np.intp]) -> tuple[Arrays, Arrays]:
    """Two parts of samples, the first of them in the memory of all if nobody else holds that.

    Args:
        full: All samples; they are used up.
        train: Which are the first part's, in order.
        val: Which are the second's.
    """
    second = full.take(val)
    if not _is_held_once(full.x):
        return full.take(train), second
    for part in chunks(len(train), full.x[:1].size):
        # In order, a sample only ever moves to the front: none is written over before it has moved.
        full.x[part] = full.x[train[part]]
    subjects = None if full.subjects is None else full.subjects[train]
    return Arrays(full.x[: len(train)], full.y[train], subjects), second


def scaled(arrays: Arrays, scaling: Scaling | None) -> Arrays:
    """Samples as inputs, float32, in the memory of the samples where that fits and nobody else holds it.

    Args:
        arrays: The samples; they are used up.
        scaling: What makes inputs of them; ``None`` takes them as they are.
    """
    if scaling is None:
        return Arrays(arrays.x.astype(np.float32, copy=False), arrays.y, arrays.subjects)
    shape = (len(arrays.x), *scaling(arrays.x[:1]).shape[1:])
    fits = arrays.x.dtype == np.float32 and arrays.x.shape == shape and _is_held_once(arrays.x)
    inputs = arrays.x if fits else np.empty(shape, np.float32)
    for part in chunks(len(inputs), arrays.x[:1].size):
        inputs[part] = scaling(arrays.x[part])
    return Arrays(inputs, arrays.y, arrays.subjects)
