"""The bit widths that what a trainer trains is scored at, for callbacks that price it."""

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
    """The bit widths that a trainer trains with, or that its module has chosen; ``None`` if all is in float."""
    found = quantization_of(trainer)
    own = getattr(trainer.lightning_module, "widths", None) if found is None else found.widths
    return own if isinstance(own, BitWidths) else None


def priced_widths(trainer: pl.Trainer, own: BitWidths) -> BitWidths:
    """What a callback prices at: the widths that are scored, or its own, with a warning if both were given."""
    trained = trained_widths(trainer)
    if trained is None:
        return own
    if own not in (BitWidths(), trained):
        by = "it is scored" if quantization_of(trainer) is None else "it is trained by QuantizationAwareTraining"
        rank_zero_warn(f"priced as {by} ({trained}), not with {own}", stacklevel=2)
    return trained
