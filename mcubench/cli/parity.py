"""``parity``: a model in PyTorch and in Keras, compared on real samples, or trained side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import lightning.pytorch as pl
from jsonargparse import ArgumentParser
from rich.console import Console

from mcubench.cli.names import find_option
from mcubench.cli.samples import samples_to_compare
from mcubench.cli.subject import check_targets, read_subject, write_targets
from mcubench.errors import UserError
from mcubench.parity import RTOL, compare, load_keras, save_model, to_keras
from mcubench.parity.backend import check_backend
from mcubench.parity.table import print_parity
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
        check_backend(find_option(args, "--backend") or "tensorflow")  # before the slow imports
    subject = read_subject("parity", args, _add_options)
    config = subject.config
    check_targets(config, {"json": None, "save": ".keras"})
    if not config.rtol > 0 or config.samples < 1:
        raise UserError(f"--rtol must be above 0 and --samples at least 1; got {config.rtol} and {config.samples}")
    pl.seed_everything(config.seed_everything or 0, verbose=False)
    model, data = subject.instantiate()
    x, what = samples_to_compare(subject, model, data, config.samples)
    load_keras(config.backend)
    twin = to_keras(model, x[:1])
    report = compare(model, twin, x, config.rtol)
    report = replace(report, notes=(*report.notes, what))
    console = Console()
    print_parity(report, console)

    writers = {"json": report.save_json, "save": lambda target: save_model(twin, target)}
    for target in write_targets(config, writers):
        console.print(f"wrote {shown(target)}", markup=False, highlight=False, soft_wrap=True)
    return 0 if report.passed else _NOT_EQUAL


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--backend", type=Literal["tensorflow", "torch"], default="tensorflow", help="what Keras runs on"
    )
    parser.add_argument("--rtol", type=float, default=RTOL, help="largest relative error of a layer that still agrees")
    parser.add_argument("--samples", type=int, default=100, help="how many test samples to compare on")
    parser.add_argument("--json", type=str | None, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--save", type=str | None, metavar="FILE.keras", help="write the Keras model to this file")
