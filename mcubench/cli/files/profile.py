"""``profile FILE``: what a model in a file costs, at the widths that stand in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console

from mcubench.cli.files.options import FileParser
from mcubench.cli.options.cost_files import cost_writers
from mcubench.cli.options.targets import check_targets, write_targets
from mcubench.console import say
from mcubench.cost import TOOLS, BitWidths, Fit, devices, find_device, profile_graph
from mcubench.cost.table import print_report
from mcubench.readers import ModelFile, read_model

__all__ = ["run_profile"]


def run_profile(args: Sequence[str]) -> None:
    """Prices a file and prints, and perhaps writes, its costs.

    Args:
        args: The words after ``profile``, the file's name first.

    Raises:
        UserError: For every mistake in the options, and for a file that can't be read.
    """
    given = _parser().parse_args(list(args))
    check_targets(vars(given), {"json": None, "csv": None, "plot": ".png"})
    parts = list(devices().values()) if "all" in given.device else [find_device(name) for name in given.device]
    file = read_model(given.file)
    report = profile_graph(
        file.graph, file.name, _widths(file, given.weight_bits, given.activation_bits), counts=given.counts
    )
    if file.not_integer and file.widths.activation <= 16:
        report = replace(report, notes=(*report.notes, file.not_integer))
    flash, ram, macs = report.flash_bytes, report.ram_bytes, report.macs
    known = flash is not None and ram is not None and macs is not None
    fits = [Fit(part, flash, ram, macs) for part in parts] if known else []  # type: ignore[arg-type]
    console = Console()
    print_report(report, console, fits)
    if parts and not fits:
        console.print("Whether it fits is not known, as not everything could be counted.", style="red")
    for target in write_targets(vars(given), cost_writers(report, fits)):
        say(console, f"wrote {target}")


def _widths(file: ModelFile, weight: int | None, activation: int | None) -> BitWidths:
    """Those of the file, unless others are asked for."""
    if weight is None and activation is None:
        return file.widths
    own = file.widths
    return BitWidths(
        own.weight if weight is None else weight,
        own.activation if activation is None else activation,
        own.per_layer if weight is None else {},
    )


def _parser() -> FileParser:
    parser = FileParser("profile")
    parser.add_argument("--weight_bits", type=int, help="bits of a weight; not set, those of the file")
    parser.add_argument("--activation_bits", type=int, help="bits of an activation; not set, those of the file")
    parser.add_argument("--device", nargs="+", default=[], help="does it fit? parts, as in stm32f446 rp2040; or all")
    parser.add_argument("--counts", nargs="+", choices=TOOLS, default=[], help="what other tools count for it")
    for name, text in (
        ("json", "write all figures to this file"),
        ("csv", "write a row a layer to this file"),
        ("plot", "draw the activation arena over the schedule, as a PNG"),
    ):
        parser.add_argument(f"--{name}", metavar="FILE", help=text)
    return parser
