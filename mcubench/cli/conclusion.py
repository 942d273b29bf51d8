"""What happens when training has ended: scores, result.json, plots and the table; or predictions.csv."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from mcubench.cli.names import FROM_DATA
from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.base import Part
from mcubench.errors import UserError
from mcubench.files import atomic_path
from mcubench.results.checkpoint_io import load_checkpoint
from mcubench.results.evaluation import NotScorableError, Scores, score
from mcubench.results.metrics_log import read_metrics
from mcubench.results.plots import plot_confusion, plot_curves
from mcubench.results.result import Result, git_commit, package_versions
from mcubench.results.table import print_result

if TYPE_CHECKING:
    from mcubench.cli.lightning import BenchCLI

__all__ = ["conclude_fit", "write_predictions"]

_PARTS: tuple[Part, ...] = ("train", "val", "test")


def conclude_fit(cli: BenchCLI) -> None:
    """Scores the best checkpoint (else the last) on all parts, and writes and prints the result."""
    trainer, model, folder = cli.trainer, cli.model, cli.folder
    notes = []
    if cli.resumed_at == trainer.global_step:
        notes.append(f"nothing was left to train after {trainer.current_epoch} epochs; raise --trainer.max_epochs")
    checkpoint = _scored_checkpoint(cli, folder)
    if cli.best is not None and "monitor" not in checkpoint:
        notes.append(f"no epoch was validated with {cli.best.monitor}, so the last checkpoint was scored")
    if checkpoint["path"]:
        model.load_state_dict(load_checkpoint(folder / checkpoint["path"])["state_dict"])
    scores = _score_parts(cli, notes)
    described = cli.datamodule.describe() if isinstance(cli.datamodule, TensorDataModule) else {}
    config = cli.config_dump
    result = Result(
        model=_class_row(model, config["model"]),
        data=None if cli.datamodule is None else _class_row(cli.datamodule, config["data"]),
        inputs=described.get("inputs"),
        split=described.get("split"),
        seed=config["seed_everything"],
        accuracy={part: each.accuracy if each else None for part, each in scores.items()},
        macro_f1={part: each.macro_f1 if each else None for part, each in scores.items()},
        params=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        epochs=len(cli.timer.epochs),
        steps=trainer.global_step,
        seconds={"epoch": cli.timer.epoch, "fit": cli.timer.fit},
        checkpoint=checkpoint,
        logged={name: float(value) for name, value in trainer.logged_metrics.items()},
        versions=package_versions(),
        command=["python", "-m", "mcubench", *sys.argv[1:]],
        git_commit=git_commit(),
        notes=notes,
    )
    result.save(folder)
    plot_curves(read_metrics(folder / "metrics.csv"), folder / "curves.png")
    if test := scores["test"]:
        names = getattr(cli.datamodule, "class_names", None) or [str(label) for label in range(len(test.confusion))]
        title = f"{type(model).__name__}, test set: {100 * test.accuracy:.2f} %"
        plot_confusion(test.confusion, names, title, folder / "confusion.png")
    print_result(result, folder, time.perf_counter() - cli.started, _hints(result), cli.console)


def _scored_checkpoint(cli: BenchCLI, folder: Path) -> dict[str, Any]:
    """The checkpoint that is scored, relative to the run's folder; no path if none was written."""
    if cli.best is not None and cli.best.best_model_path:
        path = Path(cli.best.best_model_path)
        epoch = int(load_checkpoint(path)["epoch"]) + 1
        value = cli.best.best_model_score
        return {
            "path": str(path.resolve().relative_to(folder.resolve())),
            "monitor": cli.best.monitor,
            "value": None if value is None else float(value),
            "epoch": epoch,
        }
    last = folder / "checkpoints" / "last.ckpt"
    return {"path": str(last.relative_to(folder)) if last.exists() else None}


def _score_parts(cli: BenchCLI, notes: list[str]) -> dict[str, Scores | None]:
    source = cli.model if cli.datamodule is None else cli.datamodule
    num_classes = getattr(source, "num_classes", None) or getattr(cli.model, "num_classes", None)
    if num_classes is None:
        notes.append(f"accuracy and macro-F1 are not known: {type(source).__name__} has no attribute num_classes")
        return dict.fromkeys(_PARTS)
    device = cli.trainer.strategy.root_device
    scores: dict[str, Scores | None] = {}
    for part in _PARTS:
        try:
            scores[part] = score(cli.model, _batches(source, part), num_classes, device)
        except NotScorableError as error:
            scores[part] = None
            notes.append(f"{part} accuracy and macro-F1 are not known: {error}")
    return scores


def _batches(source: pl.LightningDataModule | pl.LightningModule, part: Part) -> Iterable[Any]:
    if isinstance(source, TensorDataModule):
        return source.whole(part)
    loader: Iterable[Any] | None
    try:
        loader = getattr(source, f"{part}_dataloader")()
    except (NotImplementedError, MisconfigurationException):
        loader = None
    if loader is None or not hasattr(loader, "__iter__"):
        raise NotScorableError(f"{type(source).__name__} has no {part}_dataloader")
    return loader


def _class_row(instance: object, config: dict[str, Any]) -> dict[str, Any]:
    """Name, path and arguments of a class, with those that it took from the data."""
    init_args = dict(config.get("init_args", {}))
    init_args.update({name: getattr(instance, name, None) for name in FROM_DATA if name in init_args})
    return {"name": type(instance).__name__, "class_path": config["class_path"], "init_args": init_args}


def _hints(result: Result) -> list[str]:
    """Commands that are a sensible next step after this one."""
    model, data = result.model["name"], result.data["name"] if result.data else None
    images = data in ("Digits", "MNIST")
    hints = []
    if images and model == "MLP":
        hints.append(f"python -m mcubench fit --model CNN --data {data}")
    elif data == "HAPT" and result.split and result.split["kind"] == "subject":
        hints.append(f"python -m mcubench fit --model {model} --data HAPT --data.split random    # see how it leaks")
    if data == "Digits":
        hints.append(f"python -m mcubench fit --model {model} --data MNIST")
    hints.append("python -m mcubench test --ckpt_path best")
    return hints


def write_predictions(outputs: Any, source: object, checkpoint: Path) -> Path:
    """Writes one row a sample: its index, the class with the largest output, that class's name and the output.

    Args:
        outputs: What ``Trainer.predict`` returned: a tensor (N, classes) for each batch.
        source: Where ``class_names`` are looked for.
        checkpoint: Whose run's folder takes the file; if it is in none, the file goes beside it.

    Returns:
        The path of ``predictions.csv``.

    Raises:
        UserError: If the outputs have another form.
    """
    if not outputs or not all(isinstance(output, torch.Tensor) and output.ndim == 2 for output in outputs):
        raise UserError("predict writes the outputs of a classifier: predict_step must return a tensor (N, classes)")
    values, classes = torch.cat(outputs).max(-1)
    names = getattr(source, "class_names", None)
    folder = checkpoint.parents[1] if checkpoint.parent.name == "checkpoints" else checkpoint.parent
    path = folder / "predictions.csv"
    with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["index", "class", "name", "output"])
        for index, (label, value) in enumerate(zip(classes.tolist(), values.tolist(), strict=True)):
            writer.writerow([index, label, names[label] if names else label, f"{value:.6f}"])
    return path
