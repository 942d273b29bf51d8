"""The bit widths that a trainer trains with, for callbacks that price a model."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.utilities import rank_zero_warn

from mcubench.callbacks.quantization import QuantizationAwareTraining
from mcubench.cost import BitWidths

__all__ = ["priced_widths", "quantization_of", "trained_widths"]


def quantization_of(trainer: pl.Trainer) -> QuantizationAwareTraining | None:
    """The callback of a trainer that trains quantised; ``None`` if it trains in float."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((each for each in callbacks if isinstance(each, QuantizationAwareTraining)), None)


def trained_widths(trainer: pl.Trainer) -> BitWidths | None:
    """The bit widths that a trainer trains with; ``None`` if it trains in float."""
    found = quantization_of(trainer)
    return None if found is None else found.widths


def priced_widths(trainer: pl.Trainer, own: BitWidths) -> BitWidths:
    """What a callback prices at: the widths that are trained, or its own, with a warning if both were given."""
    trained = trained_widths(trainer)
    if trained is None:
        return own
    if own not in (BitWidths(), trained):
        rank_zero_warn(
            f"priced as it is trained by QuantizationAwareTraining ({trained}), not with {own}", stacklevel=2
        )
    return trained
