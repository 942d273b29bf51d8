"""Looks through other people's loaders for what can't be trained on, without disturbing what they will give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

__all__ = ["problem_of_labels", "problem_of_loader"]

_READ = 10_000  # samples that are read one by one; of tensors, which cost nothing to look at, all are
_AT_ONCE = 1_000
_EVERYTHING = (RandomSampler, SequentialSampler, DistributedSampler)


def problem_of_loader(loader: object, num_classes: int, prepare: Callable[[Any], Any]) -> str | None:
    """Why what a loader gives is not finite samples and their classes, with the index of the first sample at fault.

    Samples are read from its data set in order, past its sampler, so that it will give what it would have given. What
    can be read once only (an ``IterableDataset``), or is chosen by a sampler of its own, is left alone.

    Args:
        loader: What is iterated over in training.
        num_classes: The number of classes.
        prepare: What is done to each batch first, as hooks ask for.

    Returns:
        What is wrong, behind the name of the loader; ``None`` if nothing is, or it was not looked at.
    """
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    if not len(loader):
        return f"gives no batches: its data set has {_size(loader.dataset)} samples"
    if not isinstance(loader.sampler, _EVERYTHING):
        return None
    for first, batch in _in_order(loader):
        problem = _problem_of(prepare(batch), first, num_classes)
        if problem is not None:
            return f"gives what can't be trained on: {problem}"
    return None


def problem_of_labels(y: Tensor, samples: int, num_classes: int, first: int = 0) -> str | None:
    """Why labels are not the classes of samples; ``None`` if they are.

    Args:
        y: The labels of a batch.
        samples: How many samples it has.
        num_classes: The number of classes.
        first: Index of its first sample.
    """
    if y.shape != (samples,) or y.is_floating_point() or y.is_complex():
        return (
            f"labels must be integers of shape ({samples},), a class for each sample; got {y.dtype}, {tuple(y.shape)}"
        )
    wrong = ((y < 0) | (y >= num_classes)).nonzero()
    if len(wrong):
        index = int(wrong[0])
        return f"labels must be 0 to {num_classes - 1}; sample {first + index} has {int(y[index])}"
    return None


def _size(dataset: object) -> int:
    return len(dataset) if isinstance(dataset, Sized) else 0


def _in_order(loader: DataLoader[Any]) -> Iterator[tuple[int, Any]]:
    """Batches of a data set's samples in order, each with the index of its first."""
    dataset: Any = loader.dataset
    whole = isinstance(dataset, TensorDataset) and loader.collate_fn is default_collate
    for first in range(0, len(dataset) if whole else min(len(dataset), _READ), _AT_ONCE):
        indices = range(first, min(first + _AT_ONCE, len(dataset)))
        if whole:
            yield first, [tensor[first : indices.stop] for tensor in dataset.tensors]
        else:
            yield first, loader.collate_fn([dataset[index] for index in indices])


def _problem_of(batch: Any, first: int, num_classes: int) -> str | None:
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if not (pair and all(isinstance(part, Tensor) for part in batch)):
        return "batches must be pairs (x, y) of tensors"
    x, y = batch
    if x.is_floating_point():
        finite = torch.isfinite(x).flatten(1).all(1)
        if not finite.all():
            return f"samples must be finite; sample {first + int((~finite).nonzero()[0])} has NaN or infinity"
    return problem_of_labels(y, len(x), num_classes, first)
