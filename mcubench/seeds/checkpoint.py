"""A seed's own checkpoint, cut out of that of the joint training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from torch import Tensor

from mcubench.models.scored import save_outcomes
from mcubench.seeds.data import StackedData
from mcubench.seeds.module import OUTCOMES

__all__ = ["KeptInMemory", "checkpoint_of_seed"]


class KeptInMemory(TorchCheckpointIO):
    """Stands in for the files of the joint training: its checkpoints are cut up, and none is written whole.

    Attributes:
        checkpoint: The one that was saved last.
    """

    def __init__(self) -> None:
        self.checkpoint: dict[str, Any] = {}

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Keeps it."""
        self.checkpoint = checkpoint


def checkpoint_of_seed(
    joint: Mapping[str, Any],
    index: int,
    model: pl.LightningModule,
    data: pl.LightningDataModule,
    callbacks: Mapping[str, Any],
) -> dict[str, Any]:
    """What the seed's own run would have saved at this moment.

    Args:
        joint: The checkpoint of the joint training.
        index: The seed's place in the stack.
        model: Its module, with its weights as they are now.
        data: Its data module.
        callbacks: The states of its run's callbacks, by their keys; those that are missing are the joint training's.
    """
    checkpoint = {**joint, "state_dict": {name: value.clone() for name, value in model.state_dict().items()}}
    checkpoint["callbacks"] = {**joint["callbacks"], **callbacks}
    checkpoint["optimizer_states"] = [_slice(state, index) for state in joint["optimizer_states"]]
    if outcomes := checkpoint.pop(OUTCOMES, None):
        losses, predicted, target = outcomes
        save_outcomes(checkpoint, losses[:, index], predicted[index], target[index])
    if StackedData.__qualname__ in checkpoint:
        checkpoint[type(data).__qualname__] = checkpoint.pop(StackedData.__qualname__)
    for each in (model, data):  # the joint module has no options of its own
        if each.hparams:
            checkpoint[each.CHECKPOINT_HYPER_PARAMS_NAME] = getattr(each, "_hparams_name", None)
            checkpoint[each.CHECKPOINT_HYPER_PARAMS_KEY] = dict(each.hparams)
    return checkpoint


def _slice(optimizer: Mapping[str, Any], index: int) -> dict[str, Any]:
    """An optimiser's state of one seed: what has the shape of parameters is stacked, the number of steps is not."""
    state = {
        number: {name: _slice_value(value, index) for name, value in entries.items()}
        for number, entries in optimizer["state"].items()
    }
    return {**optimizer, "state": state}


def _slice_value(value: Any, index: int) -> Any:
    return value[index].clone() if isinstance(value, Tensor) and value.ndim else value
