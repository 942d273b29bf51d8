"""Samples and batches of the data that a command names, without a Trainer."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.cli.options.subject import Subject
from mcubench.errors import UserError
from mcubench.graph import declared_shape, one_sample

Pair = tuple[Tensor, Tensor]
Hooks = pl.LightningDataModule | pl.LightningModule

_NO_TRAINING = (pl.LightningDataModule.train_dataloader, pl.LightningModule.train_dataloader)

__all__ = [
    "example_for",
    "first_training_inputs",
    "labelled_test_samples",
    "samples_to_compare",
    "training_batches",
    "training_inputs",
]


def example_for(module: nn.Module, data: object, shape: tuple[int, ...] | None = None) -> Any:
    """One sample, of the shape that was asked for, else as the module says, else as the data says or has them.

    Raises:
        UserError: If none of them says it.
    """
    if shape is None and getattr(module, "example_input_array", None) is not None:
        return one_sample(module.example_input_array)
    found = shape or declared_shape(data) or declared_shape(module)
    if found is not None:
        return torch.zeros(1, *found)
    for source in (data, module):  # samples tell it where nobody says it
        if isinstance(source, Hooks) and type(source).train_dataloader not in _NO_TRAINING:
            inputs = training_inputs(source, 1)
            return inputs if len(inputs) > 1 else inputs[0]
    raise UserError(
        "the shape of a sample is not known: say --input_shape 3,32,32, or give "
        f"{type(module).__name__} an attribute example_input_array"
    )


def samples_to_compare(
    subject: Subject, model: nn.Module, data: pl.LightningDataModule | None, count: int
) -> tuple[Any, str]:
    """Test samples of the data; random ones for a model that has none.

    Returns:
        Samples as the model takes them, at most `count`, and what they are.

    Raises:
        UserError: If the shape of a sample is not known, or the data has no samples.
    """
    example = getattr(model, "example_input_array", None)
    fits = data is not None and getattr(data, "input_shape", ()) == getattr(model, "input_shape", None)
    if subject.shape is None and data is not None and (subject.data_given or fits):
        found = _first(_test_batches(data), count, "test")
        return found, f"samples: the first {len(found)} of the test set of {type(data).__name__}"
    drawn = f"samples: {count} random, standard normal"
    if subject.shape is not None:
        return torch.randn(count, *subject.shape), drawn
    leaves = [leaf for leaf in pytree.tree_leaves(example) if isinstance(leaf, Tensor)]
    if not leaves:
        raise UserError(
            "there is nothing to compare on: name the data, or say --input_shape 3,32,32 for random samples"
        )
    if not all(leaf.is_floating_point() for leaf in leaves):
        raise UserError(
            f"{type(model).__name__} takes integers, of which any may be wrong: name the data that it is for"
        )

    def draw(leaf: Any) -> Any:
        return torch.randn(count, *leaf.shape[1:]) if isinstance(leaf, Tensor) else leaf

    return pytree.tree_map(draw, example), drawn


def _test_batches(data: pl.LightningDataModule) -> Iterable[Any]:
    data.prepare_data()
    data.setup("test")
    if type(data).test_dataloader is pl.LightningDataModule.test_dataloader:
        raise UserError(
            f"{type(data).__name__} has no test_dataloader to take samples from; say --input_shape 3,32,32 for random "
            "ones"
        )
    batches: Iterable[Any] = data.test_dataloader()
    return batches


def _first(batches: Iterable[Any], count: int, part: str) -> Tensor:
    parts: list[Tensor] = []
    for batch in batches:
        x = batch[0] if isinstance(batch, (tuple, list)) else batch
        if not isinstance(x, Tensor):
            raise UserError(f"batches of the data must be tensors or begin with one; got {type(x).__name__}")
        parts.append(x[: count - sum(map(len, parts))])
        if sum(map(len, parts)) >= count:
            break
    if not parts:
        raise UserError(f"the data has no {part} samples")
    return torch.cat(parts)


def training_inputs(source: Hooks, count: int) -> tuple[Tensor, ...]:
    """The first `count` samples of training, or all, for a model that may take several tensors.

    Args:
        source: The data, or a model that brings its own.
        count: How many at most.

    Returns:
        One tensor for each input: those that a batch begins with.

    Raises:
        UserError: If there are none.
    """
    if type(source).train_dataloader in _NO_TRAINING:
        raise UserError(
            f"{type(source).__name__} has no train_dataloader to take samples from: name the data with --data"
        )
    source.prepare_data()
    source.setup("fit")
    return first_training_inputs(source, count)


def first_training_inputs(source: Hooks, count: int) -> tuple[Tensor, ...]:
    """The same, of data that is set up.

    Raises:
        UserError: If there are none.
    """
    several: list[tuple[Tensor, ...]] = []

    def of_inputs(batches: Iterable[Any]) -> Iterator[Tensor]:
        for batch in batches:
            first = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
            nested = isinstance(first, (tuple, list)) and first and all(isinstance(each, Tensor) for each in first)
            several.append(tuple(first) if nested else (first,))
            yield several[-1][0]

    found = _first(of_inputs(source.train_dataloader()), count, "training")
    return tuple(torch.cat(each)[: len(found)] for each in zip(*several, strict=True))


def labelled_test_samples(data: pl.LightningDataModule, count: int | None) -> Pair:
    """Samples and classes of the test set, the first `count` or all.

    Raises:
        UserError: If the data has no test set, or its batches are not pairs of samples and classes.
    """
    xs, ys, found = [], [], 0
    for batch in _test_batches(data):
        x, y = _pair(batch, "comparing predictions needs")
        xs.append(x)
        ys.append(y)
        found += len(x)
        if count is not None and found >= count:
            break
    if not found:
        raise UserError("the data has no test samples")
    return torch.cat(xs)[:count], torch.cat(ys)[:count]


def training_batches(data: pl.LightningDataModule | None, steps: int) -> tuple[list[Pair], Pair | None]:
    """The first batches (x, classes) of training, epoch after epoch; and the first of validation, if there is one.

    Raises:
        UserError: If there is no data, or its batches are not pairs of samples and classes.
    """
    if data is None:
        raise UserError("--train needs data with labels: name it with --data")
    data.prepare_data()
    data.setup("fit")
    found = [_pair(batch) for batch in itertools.islice(_endless(data.train_dataloader()), steps)]
    has_validation = type(data).val_dataloader is not pl.LightningDataModule.val_dataloader
    held_out = next(iter(data.val_dataloader()), None) if has_validation else None
    return found, None if held_out is None else _pair(held_out)


def _pair(batch: Any, who: str = "--train needs") -> Pair:
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2 and all(isinstance(each, Tensor) for each in batch)
    if not pair or batch[1].is_floating_point() or batch[1].shape != batch[0].shape[:1]:
        raise UserError(f"{who} batches (x, y) with a class y, an integer, for each sample")
    return batch[0], batch[1].long()


def _endless(loader: Any) -> Iterator[Any]:
    epoch = 0
    while True:
        if set_epoch := getattr(getattr(loader, "sampler", None), "set_epoch", None):
            set_epoch(epoch)
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise UserError("the data has no training batches")
        epoch += 1
