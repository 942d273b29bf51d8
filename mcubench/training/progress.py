"""How far a fit has come, also where Lightning does not see the optimiser's steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl

__all__ = ["steps_in", "steps_taken"]


def steps_taken(trainer: pl.Trainer) -> int:
    """Optimiser steps so far; batches, as long as Lightning has seen none.

    In manual optimisation a module may step its optimisers without Lightning (``use_pl_optimizer=False``): then
    ``global_step`` stays 0.
    """
    if trainer.global_step or trainer.lightning_module.automatic_optimization:
        return trainer.global_step
    return trainer.fit_loop.total_batch_idx + 1


def steps_in(checkpoint: Mapping[str, Any]) -> int:
    """The same, when a checkpoint was written."""
    if steps := int(checkpoint["global_step"]):
        return steps
    try:
        return int(checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"])
    except KeyError:  # of weights alone
        return 0
