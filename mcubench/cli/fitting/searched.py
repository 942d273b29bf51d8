"""Options that callbacks search when a fit begins, in the place of those that were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder

__all__ = ["leave_out_searches", "searched_options"]

# Names that the callbacks look for, on the model and on the data.
_NAMES: dict[type[pl.Callback], tuple[str, ...]] = {
    LearningRateFinder: ("learning_rate", "lr"),
    BatchSizeFinder: ("batch_size",),
}


def searched_options(
    trainer: pl.Trainer, instance: object, options: Mapping[str, Any]
) -> dict[str, tuple[str, int | float]]:
    """The options of a model or its data that a callback has set: by name, the callback and the value.

    Args:
        trainer: The trainer with its callbacks.
        instance: The module or its data.
        options: What it was made with.
    """
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector of Lightning's
    found: dict[str, tuple[str, int | float]] = {}
    for kind, names in _NAMES.items():
        by = next((type(each).__name__ for each in callbacks if isinstance(each, kind)), None)
        for name in names if by is not None else ():
            value = getattr(instance, name, None)
            if name in options and isinstance(value, (int, float)) and value != options[name]:
                found[name] = by or "", value
    return found


def leave_out_searches(trainer: pl.Trainer) -> list[str]:
    """Takes callbacks away that search when a fit begins: one that goes on has found its options, and would be lost.

    Returns:
        Their names.
    """
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    left_out = [
        each
        for each in callbacks
        if any(isinstance(each, kind) and type(each).on_fit_start is kind.on_fit_start for kind in _NAMES)
    ]
    for each in left_out:
        callbacks.remove(each)
    return [type(each).__name__ for each in left_out]
