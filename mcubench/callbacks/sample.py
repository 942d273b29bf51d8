"""One sample to trace a module with, without drawing a batch: that would change the training."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch

from mcubench.errors import UserError
from mcubench.graph import one_sample

__all__ = ["checked_batch_dim", "sample_from_batch", "sample_known_before"]


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

    Returns:
        The arguments of forward, as `mcubench.graph.trace` takes them; ``None`` if there is neither, or if what the
        module costs is known only once it is fitted.
    """
    if not getattr(module, "is_fitted", True):
        return None
    if module.example_input_array is not None:
        return one_sample(module.example_input_array, batch_dim)
    shape = getattr(getattr(trainer, "datamodule", None), "input_shape", None)
    return None if shape is None else torch.zeros(tuple(shape)).unsqueeze(batch_dim)


def sample_from_batch(batch: Any, module: pl.LightningModule, batch_dim: int) -> Any:
    """The first sample of a training batch; of (x, target), x is what forward is given.

    Raises:
        UserError: If the batch does not say what of it forward is given.
    """
    x = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
    if not isinstance(x, torch.Tensor):
        raise UserError(
            f"what {type(module).__name__}.forward takes can't be told from its batches ({type(batch).__name__}): set "
            "self.example_input_array to one sample, as in torch.zeros(1, 3, 32, 32)"
        )
    return one_sample(x, batch_dim)
