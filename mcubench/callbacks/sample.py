"""One sample to trace a module with, without drawing a batch: that would change the training."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mcubench.cost import is_unfitted
from mcubench.errors import UserError
from mcubench.graph import declared_shape, one_sample

__all__ = [
    "checked_batch_dim",
    "first_batch",
    "sample_known_before",
    "sample_promised",
    "samples_at_batch",
    "tried",
]

T = TypeVar("T")


def checked_batch_dim(batch_dim: int) -> int:
    """The axis of the batch.

    Raises:
        UserError: If it is not 0, 1, ...
    """
    if type(batch_dim) is not int or batch_dim < 0:
        raise UserError(f"batch_dim must be 0 or more: the axis that the batch is; got {batch_dim!r}")
    return batch_dim


def sample_known_before(trainer: pl.Trainer, module: pl.LightningModule, batch_dim: int) -> Any | None:
    """A sample that is known before training: the module's ``example_input_array``, or zeros of the data's shape.

    The shape is taken from a `mcubench.datamodules.TensorDataModule` alone: what ``input_shape`` is elsewhere, a batch
    has to tell (`sample_promised`).

    Returns:
        The arguments of forward, as `mcubench.graph.trace` takes them; ``None`` if there is neither, or if what the
        module costs is known only once it is fitted.

    Raises:
        UserError: If the module's example has no sample in it.
    """
    if is_unfitted(module):
        return None
    example = _attribute(module, "example_input_array")
    if any(isinstance(leaf, Tensor) for leaf in pytree.tree_leaves(example)):
        return one_sample(example, batch_dim)
    data = _data(trainer)
    base = sys.modules.get("mcubench.datamodules.base")  # if nobody has imported it, the data are not of its kind
    return _zeros(data, batch_dim) if base is not None and isinstance(data, base.TensorDataModule) else None


def sample_promised(trainer: pl.Trainer, module: pl.LightningModule, batch_dim: int) -> Tensor | None:
    """Zeros of the shape that other people's data seem to have: `samples_at_batch` tells whether they do."""
    return None if is_unfitted(module) else _zeros(_data(trainer), batch_dim)


def _sample_of(batch: Any, module: pl.LightningModule, batch_dim: int) -> Tensor:
    """The first sample of a training batch; of (x, target), x is what forward is given.

    Raises:
        UserError: If the batch does not say what of it forward is given.
    """
    x = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if not isinstance(x, Tensor):
        raise UserError(
            f"what {type(module).__name__}.forward takes can't be told from its batches ({type(batch).__name__}): set "
            "self.example_input_array to one sample, as in torch.zeros(1, 3, 32, 32)"
        )
    one: Tensor = one_sample(x, batch_dim)
    return one


def samples_at_batch(trainer: pl.Trainer, module: pl.LightningModule, batch: Any, batch_dim: int) -> list[Tensor]:
    """What forward may take, the likeliest first: a batch's first sample, and what the data promise, if it differs.

    Raises:
        UserError: If neither is known.
    """
    found = []
    promised = sample_promised(trainer, module, batch_dim)
    try:
        found.append(_sample_of(batch, module, batch_dim))
    except UserError:
        if promised is None:
            raise
    if promised is not None and all(each.shape != promised.shape for each in found):
        found.append(promised)
    return found


def first_batch(trainer: pl.Trainer) -> Any | None:
    """A training batch of a fit that had nothing to train, where drawing one changes nothing; ``None`` without data."""
    for batch in trainer.train_dataloader or ():
        return trainer.strategy.batch_to_device(batch)
    return None


def tried(samples: Sequence[Tensor], use: Callable[[Tensor], T]) -> T:
    """What comes of the first sample that can be used.

    Raises:
        UserError: That of the first sample, if none can.
    """
    first, *others = samples
    try:
        return use(first)
    except UserError:
        for each in others:
            with contextlib.suppress(UserError):
                return use(each)
        raise


def _data(trainer: pl.Trainer) -> object:
    return _attribute(trainer, "datamodule")


def _attribute(owner: object, name: str) -> Any:
    """An attribute, or ``None``: a property of somebody's class may raise anything before all is set up."""
    try:
        return getattr(owner, name, None)
    except Exception:
        return None


def _zeros(data: object, batch_dim: int) -> Tensor | None:
    shape = declared_shape(data)
    return None if shape is None or batch_dim > len(shape) else torch.zeros(shape).unsqueeze(batch_dim)
