"""What ``emulate`` prints, for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcubench.console import narrowed, say, wide
from mcubench.cost.devices import Device
from mcubench.cost.units import bytes_text
from mcubench.target.measure import OnCore
from mcubench.target.report import DeviceReport

__all__ = ["print_device"]


def print_device(report: DeviceReport, console: Console) -> None:
    """Prints a report: a row a layer, totals, memories, time, and what the figures mean.

    Args:
        report: The report.
        console: Where to print.
    """
    found, console = report.found, wide(console)
    on = f" on {report.data}" if report.data else ""
    table = Table(
        title=Text(f"{report.model}{on}, {found.dialect} C on an emulated {found.core.name}"),
        title_style="bold",
        show_footer=True,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("layer", "total", overflow="fold", min_width=9)
    table.add_column("kernel", overflow="fold", min_width=9)
    macs = report.total_macs
    columns = [
        ("MACs", f"{macs:,}"),
        ("instructions", f"{found.instructions:,.0f}"),
        ("per MAC", _ratio(found.instructions, macs)),
    ]
    if found.cycles is not None:
        columns.append(("cycles", _range(found.cycles)))
    for heading, total in columns:
        table.add_column(heading, total, justify="right", no_wrap=True)
    for layer, count in zip(found.layers, report.macs, strict=True):
        cells = [f"{count:,}" if count else "", f"{layer.instructions:,.0f}", _ratio(layer.instructions, count)]
        if layer.cycles is not None:
            cells.append(_range(layer.cycles))
        table.add_row(Text(layer.path or "(root)"), layer.kind, *cells)
    console.print(narrowed(table, console, "kernel"))
    _print_totals(report, console)


def _print_totals(report: DeviceReport, console: Console) -> None:
    found = report.found
    equal = found.different == 0
    text = "every byte as the integer graph computes it" if equal else f"{found.different:,} bytes DIFFER"
    score = "" if report.accuracy is None else f"; accuracy {100 * report.accuracy:.2f} %"
    say(console, f"{found.samples:,} samples: {text}{score}", style="bold green" if equal else "bold red")
    say(
        console,
        f"flash {bytes_text(report.flash_bytes)}: code {found.code_bytes:,} B + constants {found.constant_bytes:,} B"
        f"{_estimated(report)}",
    )
    say(
        console,
        f"RAM {bytes_text(report.ram_bytes)}: arena {found.arena_bytes:,} B{_state(found)} + stack "
        f"{found.stack_bytes:,} B + input {report.input_bytes:,} B + output {report.output_bytes:,} B"
        f"{_planned(report)}",
    )
    if report.device is not None:
        _print_device(report, report.device, console)
    for name, limit in report.limits.items():
        _print_budget(report, name, limit, console)
    each = "" if found.state_bytes is None else "; all figures are of one step, fed by itself"
    say(console, f"instructions: exact, mean of {found.counted} samples{each}", style="dim")
    say(console, _cycles_note(report), style="dim")


def _planned(report: DeviceReport) -> str:
    return "" if report.ram_planned is None else f" ({report.ram_origin}: {report.ram_planned:,} B)"


def _state(found: OnCore) -> str:
    return "" if found.state_bytes is None else f" + state {found.state_bytes:,} B"


def _print_budget(report: DeviceReport, name: str, limit: int, console: Console) -> None:
    over = report.over_budget.get(name)
    label = "RAM" if name == "ram" else name
    verdict = "held" if over is None else f"OVER by {over:,} B"
    what = f"budget of {label}, {bytes_text(limit)}: {verdict}, as measured"
    say(console, what, style="green" if over is None else "bold red")


def _estimated(report: DeviceReport) -> str:
    return "" if report.flash_estimate is None else f" (estimated without code: {report.flash_estimate:,} B)"


def _print_device(report: DeviceReport, device: Device, console: Console) -> None:
    usage = (
        f"flash {100 * report.flash_bytes / device.flash:.1f} % of {bytes_text(device.flash)}, "
        f"RAM {100 * report.ram_bytes / device.ram:.1f} % of {bytes_text(device.ram)}"
    )
    verdict = "fits" if report.fits else "does not fit"
    say(console, f"{device.name}: {verdict}; {usage}{_time(report, device)}", style="green" if report.fits else "red")
    if device.note:
        say(console, f"  {device.note}", style="dim")


def _time(report: DeviceReport, device: Device) -> str:
    if report.seconds is None:
        return ""
    low, high = (1000 * each for each in report.seconds)
    return f"; at least {low:.3g} to {high:.3g} ms at {device.clock_hz / 1e6:g} MHz"


def _cycles_note(report: DeviceReport) -> str:
    core = report.found.core
    if report.found.cycles is None:
        return f"cycles: none are published for {core.name}"
    multiplier = ", MULS 1 to 32 cycles by the chip's maker" if core.key in ("cortex-m0", "cortex-m0+") else ""
    return f"cycles: a bound from Arm's table for {core.name} at zero wait states{multiplier}; flash may make it wait"


def _ratio(count: float, macs: int) -> str:
    return f"{count / macs:.2f}" if macs else ""


def _range(cycles: tuple[float, float]) -> str:
    low, high = (f"{each:,.0f}" for each in cycles)
    return low if low == high else f"{low} to {high}"
