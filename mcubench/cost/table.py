"""The table of costs by layer, for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcubench.console import WIDE, narrowed, say, wide
from mcubench.cost.devices import Fit
from mcubench.cost.report import CostReport
from mcubench.cost.units import bytes_text
from mcubench.graph.ops.common import by

__all__ = ["print_report"]

_BAR = 8
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def print_report(report: CostReport, console: Console, fits: Sequence[Fit] = ()) -> None:
    """Prints a report: a row a layer, totals, what was not counted, and what the figures mean.

    Args:
        report: The report.
        console: Where to print.
        fits: Devices to compare it with.
    """
    inputs = ", ".join(_shape(shape) for shape in report.inputs)
    console = wide(console)
    bars = console.width >= WIDE and not report.counts  # whose columns take their place
    table = Table(
        title=Text(f"{report.model}, one sample of {inputs}"),
        title_style="bold",
        show_footer=True,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    flash, ram, macs = report.flash.total, report.memory.lower_bound, report.mac_count.counted
    table.add_column("layer", "total", overflow="fold", min_width=9)
    table.add_column("operation", overflow="fold", min_width=13)
    table.add_column("output", justify="right", no_wrap=True)
    table.add_column("params", f"{report.params:,}", justify="right", no_wrap=True)
    for heading, value, counted in (
        ("MACs", report.macs, macs),
        ("flash [B]", report.flash_bytes, flash),
        ("RAM [B]", report.ram_bytes, ram if report.ram_bytes is None else report.memory.peak),
    ):
        table.add_column(heading, _known(value, f"{counted:,}"), justify="right", no_wrap=True)
        if bars:
            table.add_column("", min_width=_BAR)
        for count in report.counts if heading == "MACs" else ():
            table.add_column(count.tool, _known(count.total, f"{count.lower_bound:,}"), justify="right", no_wrap=True)
    others = _other_counts(report)
    for heading, (value, parts) in others.items():
        table.add_column(heading, _known(value, f"{sum(filter(None, parts)):,}"), justify="right", no_wrap=True)
    for index, layer in enumerate(report.layers):
        costs = ((layer.macs, macs), (layer.flash_bytes, flash), (layer.ram_bytes, ram))
        cells: list[str | Text] = []
        for place, (cost, whole) in enumerate(costs):
            cells.append(_number(cost))
            if bars:
                cells.append(_bar(cost or 0, whole))
            if place == 0:
                cells += [_number(count.by_layer[index]) for count in report.counts]
        cells += [_number(parts[index]) for _, parts in others.values()]
        named = (Text(layer.path or "(root)"), Text(layer.op), _shape(layer.output_shape), _number(layer.params))
        table.add_row(*named, *cells)
    if report.unused_params:
        table.add_row("(not used)", "", "", f"{report.unused_params:,}", style="dim")
    console.print(narrowed(table, console, "params", "output"))
    _print_below(report, console, fits)


def _print_below(report: CostReport, console: Console, fits: Sequence[Fit]) -> None:
    """Prints the totals in words, what is missing, where they fit, and what the figures mean."""
    flash, ram, macs = report.flash.total, report.memory.lower_bound, report.mac_count.counted
    totals = [
        f"{_known(report.macs, f'{macs:,} MACs')}",
        f"flash {_known(report.flash_bytes, bytes_text(flash))}",
        f"RAM {_known(report.ram_bytes, bytes_text(report.ram_bytes or ram))}, needed in {report.peak_layer}",
    ]
    if report.comparisons:
        mean = report.mean_comparisons
        average = "" if mean is None else f" at worst, {mean:,.1f} on average for these samples"
        totals.append(f"{report.comparisons:,} comparisons{average}")
    say(console, " · ".join(totals), style="bold")
    for each in report.unsupported:
        say(console, f"not counted: {each}", style="yellow")
    for count in report.counts:
        say(console, count.why())
    for fit in fits:
        say(console, fit.describe(), style="green" if fit.fits else "red")
        if fit.device.note:
            say(console, f"  {fit.device.note}", style="dim")
    for line in (*report.notes, *report.conventions()):
        say(console, line, style="dim")


def _other_counts(report: CostReport) -> dict[str, tuple[int | None, list[int | None]]]:
    """What classical models do beside MACs, if anything: the total, and the count of each layer."""
    counts = {
        "compares": (report.comparisons, [layer.comparisons for layer in report.layers]),
        "functions": (report.functions, [layer.functions for layer in report.layers]),
    }
    return {heading: found for heading, found in counts.items() if any(found[1])}


def _known(value: int | None, text: str) -> str:
    return text if value is not None else f"? (≥ {text})"


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}" if value else ""


def _shape(shape: tuple[int, ...]) -> str:
    return by(shape) or "1"


def _bar(part: int, whole: int) -> Text:
    eighths = round(8 * _BAR * part / whole) if whole else 0
    full, rest = divmod(max(eighths, 1 if part else 0), 8)
    return Text("█" * full + (_EIGHTHS[rest] if rest else ""), style="cyan")
