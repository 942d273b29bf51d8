"""What ``quantize`` prints, for people."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.table import Table

from mcubench.console import narrowed, say, wide
from mcubench.cost.units import bytes_text
from mcubench.export.report import Changes, Flash, QuantizationReport, Ram

__all__ = ["print_quantization"]

_KINDS_SHOWN = 5


def print_quantization(report: QuantizationReport, console: Console) -> None:
    """Prints scores in four forms, what changed, noise by layer, flash and RAM."""
    console = wide(console)
    console.print(narrowed(_scores(report), console, "macro-F1"))
    if report.mismatches is None:
        say(console, "tflite-micro is not installed: the integer graph was not checked against it", style="yellow")
    else:
        wrong, of = report.mismatches
        line = f"integer graph and TFLite Micro: {wrong:,} of {of:,} bytes of output differ"
        say(console, line, style="red bold" if wrong else "green")
    _print_changes(report.changes, report.samples, console)
    console.print(narrowed(_noise(report), console, "step", "clipped"))
    for line in (*_flash_lines(report.flash), *_ram_lines(report.ram)):
        say(console, line, style="none")
    say(console, f"{report.widths}; ranges {report.ranges}", style="dim")
    say(console, "SQNR: signal-to-quantisation-noise ratio, errors of the layers before included", style="dim")


def _scores(report: QuantizationReport) -> Table:
    title = f"{report.model} on {report.data}, {report.samples:,} test samples"
    table = Table(title=title, title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("accuracy", "macro-F1", "same class as float"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in report.forms:
        table.add_row(each.name, *(f"{100 * share:.2f} %" for share in (each.accuracy, each.macro_f1, each.agreement)))
    return table


def _print_changes(found: Changes, samples: int, console: Console) -> None:
    if not found.count:
        say(console, "the integer graph gives every sample the class that float gives it", style="none")
        return
    line = f"{found.count:,} of {samples:,} samples change their class: {found.better:,} become right, "
    say(console, f"{line}{found.worse:,} wrong, {found.neither:,} stay wrong", style="none")
    for each in found.kinds[:_KINDS_SHOWN]:
        text = f"  {each.count:,} x {each.true}: {each.in_float} in float, {each.in_integers} in integers"
        say(console, text, style="dim")
    if (rest := len(found.kinds) - _KINDS_SHOWN) > 0:
        say(console, f"  and {rest:,} other kinds", style="dim")


def _noise(report: QuantizationReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("layer", no_wrap=True)
    table.add_column("operation", no_wrap=True)
    for heading in ("SQNR [dB]", "step", "clipped"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in report.layers:
        ratio = f"{layer.sqnr:.1f}" if math.isfinite(layer.sqnr) else "exact" if layer.sqnr > 0 else "?"
        path = "" if layer.op == "input" else layer.path or "(root)"
        table.add_row(path, layer.op, ratio, f"{layer.scale:.3g}", f"{100 * layer.clipped:.1f} %")
    return table


def _flash_lines(flash: Flash) -> list[str]:
    held = flash.stored
    parts = (
        f"{held.weights:,} B weights, {held.biases:,} B biases, {held.numbers:,} B shapes, "
        f"{held.structure:,} B structure, {held.metadata:,} B description"
    )
    estimate = "not known" if flash.estimate is None else f"{flash.estimate:,} B"
    lines = [f"flash: .tflite {bytes_text(held.file)} ({parts}); estimate without the format {estimate}"]
    if held.weights > flash.packed:
        wider = held.weights - flash.packed
        lines.append(f"weights packed at their width take {flash.packed:,} B: TFLite stores {wider:,} B more")
    return lines


def _ram_lines(ram: Ram) -> list[str]:
    estimate = "not known" if ram.estimate is None else f"{ram.estimate:,} B"
    line = f"RAM: {ram.planned:,} B of activations planned; estimate on the float graph {estimate}"
    if ram.recorded is None:
        return [line]
    tail, smallest = ram.recorded.tail, ram.smallest
    return [
        f"{line}; TFLite Micro takes {ram.recorded.head:,} B",
        f"TFLite Micro's own structures take {tail:,} B on this 64-bit host; it starts in {smallest:,} B",
    ]
