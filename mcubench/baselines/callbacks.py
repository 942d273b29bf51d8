"""Callbacks that are for networks, refused where an estimator is fitted: they would change nothing, or break."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch import callbacks as theirs
from lightning.pytorch.trainer.states import TrainerFn

from mcubench.callbacks import Distillation
from mcubench.callbacks.batches import BatchCallback
from mcubench.errors import UserError

__all__ = ["check_callbacks"]

_FOR_NETWORKS: tuple[type[pl.Callback], ...] = (
    BatchCallback,
    Distillation,
    theirs.BaseFinetuning,
    theirs.BatchSizeFinder,
    theirs.GradientAccumulationScheduler,
    theirs.LearningRateFinder,
    theirs.ModelPruning,
    theirs.StochasticWeightAveraging,
    theirs.WeightAveraging,
)


def check_callbacks(model: pl.LightningModule) -> None:
    """Sees before a fit begins that no callback of its trainer asks for a training step by step.

    Args:
        model: A classical model that is attached to a trainer.

    Raises:
        UserError: If one does.
    """
    if model.trainer.state.fn != TrainerFn.FITTING:
        return
    found: list[pl.Callback] = model.trainer.callbacks  # type: ignore[attr-defined]  # set by a connector of Lightning's
    wrong = sorted({type(each).__name__ for each in found if isinstance(each, _FOR_NETWORKS)})
    if wrong:
        raise UserError(
            f"{', '.join(wrong)} is for networks, whose weights are trained step by step; {type(model).__name__} is a "
            "classical model, which is fitted at once: leave it out"
        )
