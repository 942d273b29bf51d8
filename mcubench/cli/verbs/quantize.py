"""``quantize``: what int8 costs a trained model, measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from rich.progress import track

from mcubench.baselines import Baseline
from mcubench.baselines.measured_forms import measure_forms, print_forms, save_forms
from mcubench.baselines.rounded import FORMS
from mcubench.cli.options.quantization import (
    QUANTIZATION_OPTIONS,
    add_quantization_options,
    check_one_input,
    check_quantization,
    quantized,
)
from mcubench.cli.options.samples import labelled_test_samples
from mcubench.cli.options.subject import read_subject
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.datamodules import TensorDataModule
from mcubench.errors import UserError
from mcubench.export.backend import load
from mcubench.export.measure import measure
from mcubench.export.table import print_quantization
from mcubench.results.run_folder import shown

__all__ = ["run_quantize"]


def run_quantize(args: Sequence[str]) -> None:
    """Measures a trained model in float and in integers and prints, and perhaps writes, what differs.

    Args:
        args: The words after ``quantize``.

    Raises:
        UserError: For every mistake in the options, a package that is missing, and a model that has no integer form.
    """
    subject = read_subject("quantize", args, _add_options)
    config = subject.config
    check_targets(config, {"json": None, "plot": ".png"})
    check_quantization(config)
    if config.samples is not None and config.samples < 1:
        raise UserError(f"--samples must be at least 1; got {config.samples}")
    for package in ("ai_edge_litert.schema_py_generated", "flatbuffers"):
        load(package)  # now, not after the work
    pl.seed_everything(config.seed_everything or 0, verbose=False)
    model, data = subject.instantiate()
    if data is None:
        raise UserError("quantize measures on a test set: name the data with --data")
    if isinstance(model, Baseline):
        _run_classical(model, data, config)
        return
    found = quantized(subject, model, data)
    check_one_input("quantize", found.integer)
    console = Console()

    def progress(steps: Iterable[int], what: str) -> Iterable[int]:
        return track(list(steps), description=what, console=console, transient=True)

    samples = labelled_test_samples(data, config.samples)
    names = dict(enumerate(map(str, getattr(data, "class_names", ()))))
    report = measure(
        model,
        found.graph,
        found.integer,
        found.widths,
        found.ranges,
        samples,
        type(data).__name__,
        names,
        progress,
    )
    print_quantization(report, console)

    def plot(target: Path) -> None:
        from mcubench.export.noise_plot import plot_noise

        plot_noise(report, target)

    writers: dict[str, Callable[[Path], None]] = {"json": report.save_json, "plot": plot}
    for target in write_targets(config, writers):
        say(console, f"wrote {shown(target)}")


def _run_classical(model: Baseline, data: pl.LightningDataModule, config: Namespace) -> None:
    kind, source = type(model).__name__, type(data).__name__
    for name in (*QUANTIZATION_OPTIONS, "plot"):
        if config[name] is not None:
            raise UserError(f"--{name} is for networks: {kind} is measured in {', '.join(FORMS)}")
    if not model.is_fitted or model.rounded is None:
        raise UserError(f"{kind} is not fitted: name a run of it with --ckpt_path")
    if not isinstance(data, TensorDataModule):
        raise UserError(f"ranges are observed on training data: {source} is no TensorDataModule")
    x, y = (each.numpy() for each in labelled_test_samples(data, config.samples))
    rows, console = measure_forms(model, x, y, data.arrays("train")[0]), Console()
    print_forms(kind, source, rows, console)
    for target in write_targets(config, {"json": lambda target: save_forms(kind, source, rows, target)}):
        say(console, f"wrote {shown(target)}")


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--samples", type=int | None, help="measure on the first so many test samples; not set, on all")
    add_quantization_options(parser)
    parser.add_argument("--json", type=str | None, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--plot", type=str | None, metavar="FILE.png", help="draw the signal-to-noise ratio by layer")
