"""Lightning's callbacks that average weights: when a module has the average, and what it is an average of.

``StochasticWeightAveraging`` gives the module the average of weights at the start of several epochs, when the last one
has ended; with batch norm, one more pass over the training data follows, which computes running statistics and trains
nothing. ``WeightAveraging`` has its average validated, saved in every checkpoint, and left in the module.
"""

from __future__ import annotations

import math

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.optim.swa_utils import AveragedModel

from mcubench.errors import UserError

__all__ = [
    "averaging_of",
    "check_averaging",
    "holds_average",
    "is_statistics_pass",
    "mostly_untrained",
    "statistics_passes",
]

_LEFT = 0.01  # share of untrained weights that costs a point of accuracy or two; a tenth costs half of it

_EVERY_STEP = (WeightAveraging.should_update, EMAWeightAveraging.should_update)


def averaging_of(trainer: pl.Trainer) -> StochasticWeightAveraging | WeightAveraging | None:
    """The callback of a trainer that averages weights, if it has one."""
    callbacks: list[pl.Callback] = getattr(trainer, "callbacks", [])
    return next((each for each in callbacks if isinstance(each, (StochasticWeightAveraging, WeightAveraging))), None)


def is_statistics_pass(trainer: pl.Trainer) -> bool:
    """Whether the epoch under way trains nothing, but computes running statistics for averaged weights."""
    found = averaging_of(trainer)
    if not isinstance(found, StochasticWeightAveraging) or trainer.state.fn != TrainerFn.FITTING:
        return False
    return bool(trainer.current_epoch > found.swa_end)


def statistics_passes(trainer: pl.Trainer) -> int:
    """How many such epochs a fit that has ended had; Lightning has counted a step in each, without gradients."""
    found = averaging_of(trainer)
    return int(isinstance(found, StochasticWeightAveraging) and trainer.current_epoch > found.swa_end + 1)


def holds_average(trainer: pl.Trainer) -> bool:
    """Whether `StochasticWeightAveraging` has given the module its average, and training is at its end."""
    found = averaging_of(trainer)
    if not isinstance(found, StochasticWeightAveraging):
        return False
    state = found.state_dict()
    average = state["average_model_state"]
    if not state["n_averaged"] or average is None:
        return False
    parameters = trainer.lightning_module.named_parameters()
    return all(torch.equal(each.detach().cpu(), average[name].cpu()) for name, each in parameters)


def check_averaging(trainer: pl.Trainer) -> None:
    """Refuses averages that would have nothing of the training in them; asked when training starts.

    Raises:
        UserError: If averaging begins after the last epoch, or leaves running statistics as they were initialised.
    """
    found = averaging_of(trainer)
    if isinstance(found, StochasticWeightAveraging) and found.swa_start > found.swa_end:
        raise UserError(
            f"StochasticWeightAveraging starts in epoch {found.swa_start + 1} (swa_epoch_start), and the fit has "
            f"{found.swa_end + 1}: it would end with the initial weights. Start it earlier, or train longer"
        )
    if isinstance(found, WeightAveraging) and not found._use_buffers:
        module = trainer.lightning_module
        kept = next(
            (name for name, each in module.named_modules() if getattr(each, "track_running_stats", False)), None
        )
        if kept is not None:
            raise UserError(
                f"{type(found).__name__}(use_buffers=False) keeps the running statistics of {kept} as they were "
                "initialised, and validates and saves the averaged weights with them: leave use_buffers out"
            )


def mostly_untrained(trainer: pl.Trainer, steps: float) -> str | None:
    """Says so if weights that are averaged from the first step on are still mostly those of that step.

    An exponential average gives a share of decay^(n - 1) to the first of n weights.

    Args:
        trainer: A trainer with its callbacks.
        steps: Optimiser steps of the fit.
    """
    found = averaging_of(trainer)
    if not isinstance(found, WeightAveraging) or type(found).should_update not in _EVERY_STEP:
        return None
    if getattr(found, "update_starting_at_step", None) or not math.isfinite(steps):
        return None
    decay = _decay(found)
    updates = -(-int(steps) // getattr(found, "update_every_n_steps", 1))
    if decay is None or updates < 2 or decay ** (updates - 1) <= _LEFT:
        return None
    return (
        f"{type(found).__name__} averages from the first step on, and with a decay of {decay:.6g} {steps:,.0f} steps "
        f"leave {100 * decay ** (updates - 1):.2g} % of the weights as they were then, untrained: a decay of at most "
        f"{_LEFT ** (1 / (updates - 1)):.3g} leaves {100 * _LEFT:.0f} %"
    )


def _decay(averaging: WeightAveraging) -> float | None:
    """The share that an average keeps at each update; ``None`` if it is not always the same."""
    one = nn.Linear(1, 1, bias=False)
    average = AveragedModel(one, **averaging._kwargs)
    shares = []
    for value in (1.0, 0.0, 0.0):  # the first is copied
        nn.init.constant_(one.weight, value)
        average.update_parameters(one)
        shares.append(next(average.module.parameters()).item())
    return shares[1] if 0 < shares[1] < 1 and math.isclose(shares[2], shares[1] ** 2, rel_tol=1e-4) else None
