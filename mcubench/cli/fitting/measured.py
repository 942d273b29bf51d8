"""``validate`` and ``test``: one part of the data, in the form of the table that a fit ends with."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import lightning.pytorch as pl
from rich.console import Console
from rich.table import Table

from mcubench.callbacks.trained_widths import quantization_of, trained_widths
from mcubench.cli.fitting.scoring import IN_FLOAT, Scoring
from mcubench.console import say
from mcubench.datamodules import TensorDataModule
from mcubench.models.scored import ScoredModule
from mcubench.results.form import form_of

__all__ = ["measure"]

Part = Literal["val", "test"]
Rows = dict[str, str]

_STEPS = {"val": "validation_step", "test": "test_step"}
_NAMES = {"val": "validation", "test": "test"}


def measure(trainer: pl.Trainer, model: pl.LightningModule, part: Part, console: Console, **kwargs: Any) -> None:
    """Runs the module's own step on a part of the data, scores it as a fit does, and prints both.

    A module that has no such step is scored all the same.

    Args:
        trainer: Runs it.
        model: The module.
        part: Which part.
        console: Where to print.
        **kwargs: What Lightning's ``validate`` and ``test`` take.
    """
    name = _STEPS[part]
    if getattr(type(model), name) is getattr(pl.LightningModule, name):
        setattr(model, name, _nothing)
    run = trainer.validate if part == "val" else trainer.test
    found = run(model, **{**kwargs, "weights_only": True, "verbose": False})
    logged = {key: value for each in found for key, value in each.items()}
    if not trainer.is_global_zero:
        return
    form = form_of(trained_widths(trainer) or IN_FLOAT)
    rows, note = (
        _of_ours(trainer, part, form, logged)
        if isinstance(model, ScoredModule)
        else _of_others(trainer, model, part, form)
    )
    if rows:
        table = Table("")
        table.add_column(_NAMES[part], justify="right")
        for row in rows.items():
            table.add_row(*row)
        console.print(table)
    if logged:
        say(console, f"logged  {', '.join(f'{key} {value:.6g}' for key, value in logged.items())}")
    if note is not None:
        say(console, f"note: {note}", style="yellow")


def _nothing(batch: Any, batch_idx: int) -> None:
    """A step of a module that has none."""


def _percentage(share: float) -> str:
    return f"{100 * share:.2f} %"


def _of_ours(trainer: pl.Trainer, part: Part, form: str, logged: dict[str, float]) -> tuple[Rows, None]:
    """What a classifier has logged itself."""
    names = {f"accuracy, {form}": "accuracy", f"macro-F1, {form}": "macro_f1"}
    rows = {row: _percentage(logged[f"{part}/{key}"]) for row, key in names.items() if f"{part}/{key}" in logged}
    data = getattr(trainer, "datamodule", None)
    limit = trainer.limit_val_batches if part == "val" else trainer.limit_test_batches
    if rows and isinstance(data, TensorDataModule) and limit == 1.0:
        rows["samples"] = f"{data.describe()['split']['sizes'][part]:,}"
    return rows, None


def _of_others(trainer: pl.Trainer, model: pl.LightningModule, part: Part, form: str) -> tuple[Rows, str | None]:
    """The scores of somebody's module, if it is a classifier; else a note that says why there are none."""
    if trainer.world_size > 1:
        return {}, "accuracy is measured by one process only: use --trainer.devices 1"
    notes: list[str] = []
    scoring = Scoring(model, getattr(trainer, "datamodule", None), trainer.strategy.root_device, notes)
    quantization = quantization_of(trainer)
    rounded = contextlib.nullcontext() if quantization is None else quantization.quantized(model)
    with rounded:
        scores = scoring.score(model, part)
    if scores is None:
        return {}, notes[0].removeprefix(f"{part} ")  # there is one part only
    rows = {f"accuracy, {form}": _percentage(scores.accuracy), f"macro-F1, {form}": _percentage(scores.macro_f1)}
    return rows | {"samples": f"{scores.samples:,}"}, None
