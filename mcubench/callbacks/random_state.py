"""Random states in the checkpoint, so that a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

__all__ = ["RandomState", "random_states", "restore_random_states"]


def random_states() -> dict[str, Any]:
    """The random states of Python, numpy, torch and CUDA at this moment, as tensors and plain numbers."""
    _, keys, position, has_gauss, cached_gaussian = np.random.get_state(legacy=True)  # noqa: NPY002 - the global state is what is saved
    return {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, cached_gaussian),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_random_states(states: Mapping[str, Any]) -> None:
    """Goes back to states of `random_states`."""
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))
    keys, *rest = states["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([each.cpu() for each in states["cuda"]])


class RandomState(pl.Callback):
    """Saves the random states of Python, numpy, torch and CUDA in every checkpoint and restores them on resume.

    Lightning saves none, so dropout and augmentation after a resume differ from an uninterrupted run. States are
    stored as tensors and plain numbers: the checkpoint still loads with ``weights_only=True``. They are restored just
    before the training data is set up; with several processes, all take the first one's states.
    """

    def __init__(self) -> None:
        self._to_restore: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """The random states at this moment."""
        return random_states()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keeps the states until training starts: loading a checkpoint may draw numbers itself."""
        self._to_restore = state_dict

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Forgets a checkpoint that was loaded for something else than training."""
        self._to_restore = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restores the states of the checkpoint that is resumed from, if any."""
        state, self._to_restore = self._to_restore, {}
        if not state:
            return
        restore_random_states(state)
