"""``profile``: what a model costs, without training it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jsonargparse import ArgumentParser
from rich.console import Console

from mcubench.cli.options.cost_files import cost_writers
from mcubench.cli.options.samples import example_for
from mcubench.cli.options.subject import read_subject
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.cost import TOOLS, BitWidths, Device, Fit, devices, find_device, profile
from mcubench.cost.table import print_report
from mcubench.datamodules import TensorDataModule
from mcubench.results.features_table import print_features
from mcubench.results.result import measured_of
from mcubench.results.run_folder import shown

__all__ = ["run_profile"]


def run_profile(args: Sequence[str]) -> None:
    """Prices a model and prints, and perhaps writes, its costs.

    Args:
        args: The words after ``profile``.

    Raises:
        UserError: For every mistake in the options, and for a model that can't be traced.
    """
    subject = read_subject("profile", args, _add_options)
    config = subject.config
    check_targets(config, {"json": None, "csv": None, "plot": ".png"})
    asked = {"weight": config.weight_bits, "activation": config.activation_bits, "per_layer": config.bits_per_layer}
    asked = {name: value for name, value in asked.items() if value is not None}
    widths = BitWidths(**asked) if asked else None
    parts = list(devices().values()) if "all" in config.device else [find_device(name) for name in config.device]
    model, data = subject.instantiate()
    used = data if subject.data_given else None
    if getattr(model, "is_fitted", False) and isinstance(used, TensorDataModule) and subject.shape is None:
        sample = torch.from_numpy(used.arrays("val")[0].copy())  # what trees do on average depends on real samples
    else:
        sample = example_for(model, used, subject.shape)
    features = used.preprocessing() if isinstance(used, TensorDataModule) else None
    report = profile(model, sample, widths, config.count_bias, counts=config.counts)
    flash, ram, macs = report.flash_bytes, report.ram_bytes, report.macs
    fits = []
    if flash is not None and ram is not None and macs is not None:
        timed = None if report.comparisons or report.functions else macs
        measured = None if subject.checkpoint is None else measured_of(subject.checkpoint)
        fits = [Fit(part, flash, ram, timed, _cycles(measured, part)) for part in parts]
    console = Console()
    print_report(report, console, fits)
    if features is not None:
        print_features(features, report.macs, console)
    if parts and not fits:
        console.print("Whether it fits is not known, as not everything could be counted.", style="red")
    for target in write_targets(config, cost_writers(report, fits, preprocessing=features and features.as_dict())):
        say(console, f"wrote {shown(target)}")


def _add_options(parser: ArgumentParser) -> None:
    not_set = "not set, 8; of a classical model's run, what it was scored at"
    parser.add_argument(
        "--weight_bits", type=int | None, help=f"bits of a weight: 1, 2, 4, 8; 16 and 32 are floats; {not_set}"
    )
    parser.add_argument("--activation_bits", type=int | None, help=f"bits of an activation: 4, 8, 16 or 32; {not_set}")
    parser.add_argument("--bits_per_layer", type=dict[str, int] | None, help="other weight bits: '{\"layers.0\": 4}'")
    parser.add_argument("--count_bias", type=bool, default=False, help="count the addition of a bias as one MAC")
    parser.add_argument(
        "--counts", nargs="+", default=[], choices=TOOLS, help="what would other tools count? one or both: st gapflow"
    )
    parser.add_argument("--device", nargs="+", default=[], help="does it fit? parts, as in stm32f446 rp2040; or all")
    for name, text in (
        ("json", "write all figures to this file"),
        ("csv", "write a row a layer to this file"),
        ("plot", "draw the activation arena over the schedule, as a PNG"),
    ):
        parser.add_argument(f"--{name}", type=str | None, metavar="FILE", help=text)


def _cycles(measured: Mapping[str, Any] | None, part: Device) -> tuple[float, float] | None:
    """What ``emulate`` counted on the core of a device."""
    if measured is None or measured["core"] != part.core or measured["cycles"] is None:
        return None
    low, high = measured["cycles"]
    return low, high
