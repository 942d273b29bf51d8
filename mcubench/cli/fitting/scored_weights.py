"""Which weights of a finished fit are scored: averaged ones, the best ones, or the last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import StochasticWeightAveraging

from mcubench.callbacks.last_checkpoint import AVERAGED
from mcubench.callbacks.trained_widths import quantization_of
from mcubench.errors import UserError
from mcubench.quant.training import find_qat_state
from mcubench.results.best_checkpoint import BestCheckpoint
from mcubench.results.checkpoint_io import load_checkpoint
from mcubench.training.averaging import averaging_of, holds_average

__all__ = ["take_scored_weights"]

Found = tuple[dict[str, Any], Mapping[str, Any] | None]


def take_scored_weights(
    trainer: pl.Trainer, model: pl.LightningModule, folder: Path, best: BestCheckpoint | None, notes: list[str]
) -> Found:
    """Gives the module the weights that its fit has come to, as a checkpoint has them, if one was kept.

    Weights that ``StochasticWeightAveraging`` has averaged come first: no validation in training was of them. Else they
    are the best ones, or the last, which the module has already.

    Args:
        trainer: The trainer that ran the fit.
        model: The module, as trained last.
        folder: The run's folder.
        best: The callback that kept the best checkpoint, if one did.
        notes: Takes what is worth knowing of the choice.

    Returns:
        What is scored: its path in the run's folder, ``None`` if it is in none; how a best one was chosen; what
        averaged it, if something did. With it the state of its quantisation-aware training, empty if it has none;
        ``None`` if no checkpoint was read.
    """
    averaging = averaging_of(trainer)
    if averaging is None:
        return _best_or_last(trainer, model, folder, best, notes)
    by = {"averaged_by": type(averaging).__name__}
    if isinstance(averaging, StochasticWeightAveraging):
        found = _average(trainer, model, folder)
        if found is not None:
            return found[0] | by, found[1]
        notes.append(
            f"{by['averaged_by']} leaves its average in the module when epoch {averaging.swa_end + 1} has ended, and "
            "it has not: averaged weights were not scored"
        )
        return _best_or_last(trainer, model, folder, best, notes)
    row, state = _best_or_last(trainer, model, folder, best, notes)
    return row | by, state


def _average(trainer: pl.Trainer, model: pl.LightningModule, folder: Path) -> Found | None:
    path = folder / "checkpoints" / AVERAGED
    if not path.exists():
        return ({"path": None}, None) if holds_average(trainer) else None
    checkpoint = load_checkpoint(path)
    if checkpoint["global_step"] != trainer.global_step:  # of the fit that this one has gone on from
        return None
    model.load_state_dict(checkpoint["state_dict"], strict=model.strict_loading)
    return {"path": str(path.relative_to(folder))}, find_qat_state(checkpoint) or {}


def _best_or_last(
    trainer: pl.Trainer, model: pl.LightningModule, folder: Path, best: BestCheckpoint | None, notes: list[str]
) -> Found:
    last = folder / "checkpoints" / "last.ckpt"
    row: dict[str, Any] = {"path": str(last.relative_to(folder)) if last.exists() else None}
    if best is None:
        return row, None
    if not best.best_model_path:
        rounded = "rounded " if quantization_of(trainer) is not None else ""
        notes.append(f"no {rounded}epoch was validated with {best.monitor}, so the last weights were scored")
        return row, None
    path = Path(best.best_model_path)
    try:
        checkpoint = load_checkpoint(path)
    except UserError as error:
        notes.append(f"best.ckpt can't be read, so the last weights were scored: {error}")
        return row, None
    model.load_state_dict(checkpoint["state_dict"], strict=model.strict_loading)
    value = best.best_model_score
    row = {
        "path": str(path.resolve().relative_to(folder.resolve())),
        "monitor": best.monitor,
        "value": None if value is None else float(value),
        "epoch": int(checkpoint["epoch"]) + 1,
    }
    return row, find_qat_state(checkpoint) or {}
