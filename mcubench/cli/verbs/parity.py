"""``parity``: a model in PyTorch and in Keras, compared on real samples, or trained side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import track
from torch import nn

from mcubench.cli.options.names import configured, find_option
from mcubench.cli.options.samples import samples_to_compare, training_batches
from mcubench.cli.options.subject import read_subject
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.graph import one_sample, trace
from mcubench.parity import (
    RTOL,
    TRAIN_RTOL,
    TrainingParity,
    compare,
    default_effects,
    load_keras,
    save_model,
    train_both,
)
from mcubench.parity.backend import check_backend
from mcubench.parity.comparing.table import print_parity
from mcubench.parity.training.optimizers import Optimizer, learning_rate_of
from mcubench.parity.training.table import print_training
from mcubench.parity.twin import build_model, graph_for_keras
from mcubench.results.run_folder import shown

__all__ = ["run_parity"]

_NOT_EQUAL = 1  # exit code, as of diff and cmp


def run_parity(args: Sequence[str]) -> int:
    """Compares a model with its Keras twin and prints, and perhaps writes, the comparison.

    Args:
        args: The words after ``parity``.

    Returns:
        The exit code: 0 if both agree within the tolerance, 1 if not.

    Raises:
        UserError: For every mistake in the options, without Keras, and for a model that Keras has no counterpart of.
    """
    if not any(arg in ("-h", "--help") or arg.endswith(".help") for arg in args):
        wanted = find_option(args, "--backend") or configured(args).get("backend")
        check_backend(wanted or os.environ.get("KERAS_BACKEND") or "tensorflow")  # before the slow imports
    subject = read_subject("parity", args, _add_options)
    config = subject.config
    check_targets(config, {"json": None, "plot": ".png", "save": ".keras"})
    _check_numbers(config)
    pl.seed_everything(config.seed_everything or 0, verbose=False)
    model, data = subject.instantiate()
    x, what = samples_to_compare(subject, model, data, config.samples)
    keras = load_keras(config.backend)
    graph = trace(model, one_sample(x))
    twin = build_model(keras, graph_for_keras(graph), type(model).__name__)
    report = compare(model, twin, x, config.rtol, graph=graph)
    report = replace(report, notes=(*report.notes, what))
    console = Console()
    print_parity(report, console)
    training = None if config.train is None else _train(config, model, data, console)
    figures = {} if training is None else {"training": training.as_dict()}

    def plot(target: Path) -> None:
        from mcubench.parity.training.plot import plot_losses

        assert training is not None
        plot_losses(training, target)

    writers: dict[str, Callable[[Path], None]] = {
        "json": lambda target: report.save_json(target, **figures),
        "plot": plot,
        "save": lambda target: save_model(twin, target),
    }
    for target in write_targets(config, writers):
        say(console, f"wrote {shown(target)}")
    return 0 if report.passed and (training is None or training.passed) else _NOT_EQUAL


def _check_numbers(config: Namespace) -> None:
    """Sees before the work that numbers are in their ranges, and options go together."""
    for name in ("rtol", "train_rtol"):
        if not config[name] > 0:
            raise UserError(f"--{name} must be above 0; got {config[name]}")
    for name, least in (("samples", 1), ("train", 1), ("seeds", 2)):
        if config[name] is not None and config[name] < least:
            raise UserError(f"--{name} must be at least {least}; got {config[name]}")
    learning_rate_of(config.optimizer, config.learning_rate)
    for name in ("defaults", "plot"):
        if config[name] and config.train is None:
            raise UserError(f"--{name} is about training: say --train 50 too")


def _train(
    config: Namespace, model: nn.Module, data: pl.LightningDataModule | None, console: Console
) -> TrainingParity:
    batches, held_out = training_batches(data, config.train)
    options = {"optimizer": config.optimizer, "learning_rate": config.learning_rate, "held_out": held_out}
    training = train_both(model, batches, rtol=config.train_rtol, **options)
    if config.defaults:
        bar = partial(track, description="training with Keras' defaults", console=console, transient=True)
        effects = default_effects(model, batches, seeds=config.seeds, progress=bar, **options)
        training = replace(training, defaults=effects)
    print_training(training, console)
    return training


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--backend",
        type=Literal["tensorflow", "torch"] | None,
        help="what Keras runs on; not set, $KERAS_BACKEND, else tensorflow",
    )
    parser.add_argument("--rtol", type=float, default=RTOL, help="largest relative error of a layer that still agrees")
    parser.add_argument("--samples", type=int, default=100, help="how many test samples to compare on")
    parser.add_argument("--train", type=int | None, metavar="STEPS", help="also train both, for so many steps")
    parser.add_argument("--optimizer", type=Optimizer, default="adam", help="what --train trains with")
    parser.add_argument("--learning_rate", type=float | None, help="of --train; not set, the optimizer's usual one")
    parser.add_argument(
        "--train_rtol", type=float, default=TRAIN_RTOL, help="largest relative gap of losses that agrees"
    )
    parser.add_argument(
        "--defaults", action="store_true", help="with --train: what does each of Keras' own defaults do to the losses?"
    )
    parser.add_argument("--seeds", type=int, default=5, help="of --defaults, for what is drawn at random")
    parser.add_argument("--json", type=str | None, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--plot", type=str | None, metavar="FILE.png", help="draw the losses of --train")
    parser.add_argument("--save", type=str | None, metavar="FILE.keras", help="write the Keras model to this file")
