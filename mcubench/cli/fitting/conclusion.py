"""What happens when training has ended: scores, result.json, plots and the table; or predictions.csv."""

from __future__ import annotations

import contextlib
import csv
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from rich.console import Console

from mcubench.callbacks import EpochTimer, MACs, Threads
from mcubench.callbacks.trained_widths import quantization_of, trained_widths
from mcubench.cli.fitting.next_commands import next_commands
from mcubench.cli.fitting.other_form import can_be_quantized, other_form
from mcubench.cli.fitting.scored_weights import take_scored_weights
from mcubench.cli.fitting.scoring import IN_FLOAT, PARTS, Scoring, as_trained
from mcubench.cli.fitting.searched import searched_options
from mcubench.cli.options.names import FROM_DATA
from mcubench.console import say
from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.base import Part
from mcubench.errors import UserError
from mcubench.files import atomic_path
from mcubench.results.best_checkpoint import BestCheckpoint
from mcubench.results.form import form_of
from mcubench.results.metrics_log import read_metrics
from mcubench.results.plots import plot_confusion, plot_curves
from mcubench.results.result import Result, git_commit, package_versions
from mcubench.results.run_folder import run_of
from mcubench.results.table import print_result
from mcubench.training.averaging import mostly_untrained, statistics_passes
from mcubench.training.progress import steps_taken

__all__ = ["FinishedFit", "conclude_fit", "predictions_of", "write_predictions"]


@dataclass(frozen=True)
class FinishedFit:
    """A fit that has ended.

    Attributes:
        trainer: The trainer that ran it.
        model: The module, as trained last.
        datamodule: Its data, or ``None`` if the module brings its own.
        config: All options, as config.yaml has them.
        folder: The run's folder.
        best: The callback that kept the best checkpoint, if one did.
        timer: The callback that measured it.
        costs: The callback that counted its MACs, flash and RAM.
        threads: The callback that chose its number of threads.
        budget: What was wrong with its budget, if anything.
        resumed_at: Optimiser step that it was resumed at, if it was.
        command: What the user typed after the program's name.
        started: When the command began, by ``time.perf_counter``.
        notes: What else is worth knowing of the result.
        parts: The parts of the data that it is scored on.
    """

    trainer: pl.Trainer
    model: pl.LightningModule
    datamodule: pl.LightningDataModule | None
    config: dict[str, Any]
    folder: Path
    best: BestCheckpoint | None
    timer: EpochTimer
    costs: MACs
    threads: Threads
    budget: str | None
    resumed_at: int | None
    command: list[str]
    started: float
    notes: tuple[str, ...] = ()
    parts: tuple[Part, ...] = PARTS


def conclude_fit(fit: FinishedFit, console: Console) -> None:
    """Scores averaged weights, else the best checkpoint's, else the last, and writes and prints the result."""
    trainer, model, folder = fit.trainer, fit.model, fit.folder
    notes: list[str] = [*getattr(model, "fit_notes", []), *fit.notes]
    if fit.budget is not None:
        notes.append(fit.budget)
    checkpoint, state = take_scored_weights(trainer, model, folder, fit.best, notes)
    if untrained := mostly_untrained(trainer, trainer.global_step):
        notes.append(untrained)
    quantization = quantization_of(trainer)
    widths = trained_widths(trainer) or IN_FLOAT
    if quantization is not None and not (quantization.state_dict() if state is None else state).get("ranges"):
        in_best = "best.ckpt is of an epoch before quantisation began, so its float values were scored"
        notes.append(quantization.not_begun(trainer.current_epoch) if state is None else in_best)
        widths = IN_FLOAT
        # A row is one model: what is not rounded is priced as all float runs are.
        fit.costs.price_untrained_widths(model)
    rounded = contextlib.nullcontext() if quantization is None else quantization.quantized(model, state)
    scoring = Scoring(model, fit.datamodule, trainer.strategy.root_device, notes, fit.parts)
    with rounded, as_trained(model):
        scores = {part: scoring.score(model, part) for part in PARTS}
    macs = None if fit.costs.report is None else fit.costs.report.macs
    other = other_form(model, widths, fit.costs.widths, macs, scoring)
    described = fit.datamodule.describe() if isinstance(fit.datamodule, TensorDataModule) else {}
    features = fit.datamodule.preprocessing() if isinstance(fit.datamodule, TensorDataModule) else None
    config = fit.config
    result = Result(
        model=_class_row(trainer, model, config["model"], notes),
        data=None if fit.datamodule is None else _class_row(trainer, fit.datamodule, config["data"], notes),
        inputs=described.get("inputs"),
        preprocessing=None if features is None else features.as_dict(),
        split=described.get("split"),
        seed=config["seed_everything"],
        accuracy={part: each.accuracy if each else None for part, each in scores.items()},
        macro_f1={part: each.macro_f1 if each else None for part, each in scores.items()},
        params=_params(model, fit.costs),
        **_costs(fit.costs, notes),
        epochs=len(fit.timer.epochs),
        steps=_steps(trainer, notes),
        seconds={"epoch": fit.timer.epoch, "fit": fit.timer.fit},
        checkpoint=checkpoint,
        logged=_finite(trainer.logged_metrics, notes),
        versions=package_versions(),
        command=["python", "-m", "mcubench", *fit.command],
        git_commit=git_commit(),
        notes=notes,
        threads=fit.threads.used,
        form=form_of(widths),
        other_form=other,
    )
    plot_curves(read_metrics(folder / "metrics.csv"), folder / "curves.png")
    if test := scores["test"]:
        names = getattr(fit.datamodule, "class_names", None) or [str(label) for label in range(len(test.confusion))]
        title = f"{type(model).__name__}, test set: {100 * test.accuracy:.2f} %"
        plot_confusion(test.confusion, names, title, folder / "confusion.png")
    result.save(folder)  # last: a run that has a result is done
    hints = next_commands(result, folder, can_be_quantized(model, scoring))
    print_result(result, folder, time.perf_counter() - fit.started, hints, console)
    if fit.resumed_at == steps_taken(trainer) and not getattr(model, "is_fitted", False):
        # No note: a run that was killed when all was trained has the result of one that was not.
        say(console, f"nothing was left to train after {trainer.current_epoch} epochs; raise --trainer.max_epochs")


def _params(model: pl.LightningModule, costs: MACs) -> int:
    """Trainable parameters; of an estimator, which has none for torch, the numbers that it stores."""
    if getattr(model, "is_fitted", False) and costs.report is not None:
        return costs.report.params
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _costs(costs: MACs, notes: list[str]) -> dict[str, Any]:
    """What the model costs; ``None`` for what is not known, with a note."""
    report = costs.report
    widths = costs.widths if report is None else report.widths
    bits = {"weight": widths.weight, "activation": widths.activation}
    row: dict[str, Any] = {"macs": None, "flash_bytes": None, "ram_bytes": None, "bits": bits}
    if report is None:
        notes.append(f"MACs, flash and RAM are not known: {costs.problem or 'no training batch came'}")
        return row
    if report.unsupported:
        notes.append(f"MACs, flash and RAM are not all known: {'; '.join(map(str, report.unsupported))}")
    return row | {"macs": report.macs, "flash_bytes": report.flash_bytes, "ram_bytes": report.ram_bytes}


def _finite(logged: Mapping[str, Any], notes: list[str]) -> dict[str, float | None]:
    """Logged metrics as numbers; those that are not finite become ``None``, with a note."""
    values = {name: float(value) for name, value in logged.items()}
    diverged = [name for name, value in values.items() if not math.isfinite(value)]
    if diverged:
        notes.append(f"the training has diverged: {', '.join(diverged)} is not finite")
    return {name: None if name in diverged else value for name, value in values.items()}


def _steps(trainer: pl.Trainer, notes: list[str]) -> int | None:
    """Optimiser steps taken; ``None`` where Lightning has not seen them."""
    if trainer.global_step == 0 and steps_taken(trainer) > 0:
        notes.append(
            f"optimiser steps are not known: {type(trainer.lightning_module).__name__} takes them where Lightning does "
            "not see them (use_pl_optimizer=False)"
        )
        return None
    return trainer.global_step - statistics_passes(trainer)


def _class_row(trainer: pl.Trainer, instance: object, config: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Name, path and arguments of a class, with those that it took from the data or that were searched."""
    init_args = dict(config.get("init_args", {}))
    init_args.update({name: getattr(instance, name, None) for name in FROM_DATA if name in init_args})
    for name, (by, value) in searched_options(trainer, instance, init_args).items():
        notes.append(f"{by} has set {name} to {value:.6g}, in the place of {init_args[name]}")
        init_args[name] = value
    return {"name": type(instance).__name__, "class_path": config["class_path"], "init_args": init_args}


def predictions_of(checkpoint: Path) -> Path:
    """The file that takes what a checkpoint predicts: in its run's folder; if it is in none, beside it."""
    return (run_of(checkpoint) or checkpoint.parent) / "predictions.csv"


def write_predictions(outputs: Any, source: object, path: Path) -> None:
    """Writes one row a sample: its index, the class with the largest output, that class's name and the output.

    Args:
        outputs: What ``Trainer.predict`` returned: a tensor (N, classes) for each batch.
        source: Where ``class_names`` are looked for.
        path: The file.

    Raises:
        UserError: If the outputs have another form, or are not finite.
    """
    if not outputs or not all(isinstance(output, torch.Tensor) and output.ndim == 2 for output in outputs):
        raise UserError("predict writes the outputs of a classifier: predict_step must return a tensor (N, classes)")
    values, classes = torch.cat(outputs).max(-1)
    undefined = (~values.isfinite()).nonzero()  # NaN is the largest of all
    if len(undefined):
        raise UserError(
            f"{len(undefined):,} of {len(values):,} predictions are not finite, the first at index "
            f"{int(undefined[0])}: the training has diverged, or the samples are not finite; nothing was written"
        )
    names = getattr(source, "class_names", None)
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "class", "name", "output"])
        for index, (label, value) in enumerate(zip(classes.tolist(), values.tolist(), strict=True)):
            writer.writerow([index, label, names[label] if names else label, f"{value:.6f}"])
