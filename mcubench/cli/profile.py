"""``profile``: what a model costs, without training it."""

from __future__ import annotations

import argparse
import importlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
from torch import nn

from mcubench.cli.help import describe
from mcubench.cli.names import configured, expand_names, find_option, find_options, with_defaults
from mcubench.cli.parse_errors import explain
from mcubench.cli.parsing import HelpFormatter, class_options, link_data_to_model, plain_init_errors
from mcubench.cli.resume import does_not_fit, with_run_options, without_training
from mcubench.cost import BitWidths, CostReport, Fit, devices, find_device, profile
from mcubench.cost.table import print_report
from mcubench.errors import UserError
from mcubench.graph import one_sample
from mcubench.results.checkpoint_io import load_checkpoint
from mcubench.results.run_folder import shown

__all__ = ["run_profile"]


def run_profile(args: Sequence[str]) -> None:
    """Prices a model and prints, and perhaps writes, its costs.

    Args:
        args: The words after ``profile``.

    Raises:
        UserError: For every mistake in the options, and for a model that can't be traced.
    """
    shape = _shape(find_option(args, "--input_shape"))
    named, checkpoint = with_run_options("profile", expand_names(without_training(args), any_module=True))
    data_given = bool(find_options(named, "--data", "--data.class_path") or configured(named).get("data"))
    complete = with_defaults(_with_shape(named, shape))
    parser = _parser(complete)
    try:
        config = parser.parse_args(complete)
    except argparse.ArgumentError as error:
        raise UserError(explain(str(error), parser._option_string_actions, class_options)) from error
    _check_targets(config)
    widths = BitWidths(config.weight_bits, config.activation_bits, config.bits_per_layer or {})
    parts = list(devices().values()) if "all" in config.device else [find_device(name) for name in config.device]
    with plain_init_errors():
        built = parser.instantiate_classes(config)
    if checkpoint is not None:
        _load(built.model, checkpoint)
    report = profile(
        built.model, _sample(built.model, built.data if data_given else None, shape), widths, config.count_bias
    )
    flash, ram, macs = report.flash_bytes, report.ram_bytes, report.macs
    fits = []
    if flash is not None and ram is not None and macs is not None:
        fits = [Fit(part, flash, ram, macs) for part in parts]
    console = Console()
    print_report(report, console, fits)
    if parts and not fits:
        console.print("Whether it fits is not known, as not everything could be counted.", style="red")
    _write(report, fits, config, console)


def _shape(given: str | None) -> tuple[int, ...] | None:
    if given is None:
        return None
    try:
        shape = tuple(int(size) for size in given.strip("[]() ").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise UserError(f"--input_shape must be the sizes of one sample, as in 3,32,32; got {given!r}")
    return shape


def _with_shape(args: Sequence[str], shape: tuple[int, ...] | None) -> list[str]:
    """A shape takes the place of data, and is given to a model that asks for one."""
    if shape is None:
        return list(args)
    added = [] if find_options(args, "--data", "--data.class_path") else ["--data=null"]
    section = configured(args).get("model")
    model = find_option(args, "--model") or (section["class_path"] if isinstance(section, dict) else None)
    module, _, name = (model or "").rpartition(".")
    if module:
        takes = inspect.signature(getattr(importlib.import_module(module), name)).parameters
        if "input_shape" in takes and not find_options(args, "--model.input_shape", "--model.init_args.input_shape"):
            added.append(f"--model.input_shape={list(shape)}")
    return [*args, *added]


def _parser(args: Sequence[str]) -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m mcubench",
        usage="python -m mcubench profile [options]",
        description=describe("profile"),
        formatter_class=HelpFormatter,
        exit_on_error=False,
    )
    parser.add_argument("-c", "--config", action="config", help="options from a YAML file, as every run folder has one")
    parser.add_argument("--seed_everything", type=int | bool, help=argparse.SUPPRESS)  # stands in a run's configuration
    parser.add_argument("--ckpt_path", type=str | None, help="best, last, a run's folder or a file: its model")
    parser.add_subclass_arguments(
        nn.Module, "model", required=True, fail_untyped=False, help="the model: any torch module"
    )
    parser.add_subclass_arguments(
        pl.LightningDataModule,
        "data",
        required=False,
        fail_untyped=False,
        help="the data that says the shape of a sample",
    )
    parser.add_argument("--input_shape", type=str | None, help="shape of one sample, as in 3,32,32; needs no data")
    parser.add_argument("--weight_bits", type=int, default=8, help="bits of a weight: 1, 2, 4, 8; 16 and 32 are floats")
    parser.add_argument("--activation_bits", type=int, default=8, help="bits of an activation: 4, 8, 16 or 32")
    parser.add_argument("--bits_per_layer", type=dict[str, int] | None, help="other weight bits: '{\"layers.0\": 4}'")
    parser.add_argument("--count_bias", type=bool, default=False, help="count the addition of a bias as one MAC")
    parser.add_argument("--device", nargs="+", default=[], help="does it fit? parts, as in stm32f446 rp2040; or all")
    for name, text in (
        ("json", "write all figures to this file"),
        ("csv", "write a row a layer to this file"),
        ("plot", "draw the activation arena over the schedule, as a PNG"),
    ):
        parser.add_argument(f"--{name}", type=str | None, metavar="FILE", help=text)
    link_data_to_model(parser, args)
    return parser


def _load(module: nn.Module, checkpoint: Path) -> None:
    try:
        module.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    except RuntimeError as error:
        raise does_not_fit(checkpoint, error) from error


def _sample(module: nn.Module, data: object, shape: tuple[int, ...] | None) -> Any:
    """One sample, of the shape that was asked for, else as the module says, else as the data does."""
    if shape is None and getattr(module, "example_input_array", None) is not None:
        return one_sample(module.example_input_array)
    found = shape or getattr(data, "input_shape", None) or getattr(module, "input_shape", None)
    if found is None:
        raise UserError(
            "the shape of a sample is not known: say --input_shape 3,32,32, or give "
            f"{type(module).__name__} an attribute example_input_array"
        )
    return torch.zeros(1, *found)


def _check_targets(config: Namespace) -> None:
    """Sees before the work that what is asked for can be written."""
    targets = {name: Path(config[name]).absolute() for name in ("json", "csv", "plot") if config[name]}
    for name, target in targets.items():
        if target.is_dir():
            raise UserError(f"--{name} {config[name]} is a folder; give a file")
        if list(targets.values()).count(target) > 1:
            raise UserError(f"--{name} {config[name]}: every output needs a file of its own")
    if "plot" in targets and targets["plot"].suffix != ".png":
        raise UserError(f"--plot writes a PNG, so its name must end in .png; got {config.plot}")


def _write(report: CostReport, fits: Sequence[Fit], config: Namespace, console: Console) -> None:
    rows = [
        {
            "device": fit.device.key,
            "fits": fit.fits,
            "flash_share": fit.flash_share,
            "ram_share": fit.ram_share,
            "latency_seconds": fit.latency,
        }
        for fit in fits
    ]

    def plot(target: Path) -> None:
        from mcubench.cost.timeline import plot_timeline

        plot_timeline(report, target)

    writers = {
        "json": lambda target: report.save_json(target, devices=rows),
        "csv": report.save_csv,
        "plot": plot,
    }
    for name, write in writers.items():
        if not config[name]:
            continue
        target = Path(config[name])
        try:
            write(target)
        except OSError as error:
            raise UserError(f"--{name} {target} can't be written: {error.strerror or error}") from error
        console.print(f"wrote {shown(target)}", markup=False, highlight=False, soft_wrap=True)
