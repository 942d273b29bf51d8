"""The comparison as a table, for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcubench.console import narrowed, say, wide
from mcubench.graph.ops.common import by
from mcubench.parity.comparing.report import Difference, ParityReport

__all__ = ["print_parity"]


def print_parity(report: ParityReport, console: Console) -> None:
    """Prints a comparison: a row a layer, the outputs, what differs in structure, and the verdict."""
    console = wide(console)
    table = Table(
        title=Text(f"{report.model} in PyTorch and in Keras ({report.backend}), {report.samples} samples"),
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("layer", overflow="fold", min_width=9)
    table.add_column("PyTorch", overflow="fold")
    table.add_column("Keras", overflow="fold")
    table.add_column("output", justify="right", no_wrap=True)
    for heading in ("weights", "max. abs.", "relative", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    first = report.first_divergence
    for layer in report.layers:
        expected, have = layer.params
        weights = f"{have:,}" if have or expected else ""
        table.add_row(
            Text(layer.path),
            Text(layer.op),
            Text(layer.keras_kind if layer.keras == layer.path else f"{layer.keras} ({layer.keras_kind})"),
            by(layer.shape) or "1",
            weights if expected == have else Text(f"{weights or '0'}, not {expected:,}", style="red"),
            *_numbers(layer.difference),
            _mark(layer.agrees, layer is first),
        )
    table.add_section()
    for output in report.outputs:
        top1 = "" if output.top1 is None else f"same top-1: {100 * output.top1:.4g} %"
        numbers = _numbers(output.difference)
        table.add_row("output", Text(output.name), top1, by(output.shape) or "1", "", *numbers, _mark(output.agrees))
    console.print(narrowed(table, console, "max. abs.", "cosine", "weights", "output"))
    ours, theirs = report.params
    macs = [f"{each:,}" if each is not None else "?" for each in report.macs]
    say(console, f"weights {ours:,} in PyTorch, {theirs:,} in Keras · MACs {macs[0]}, {macs[1]}", style="bold")
    for each in report.structure:
        say(console, f"differs: {each}", style="red")
    for each in report.notes:
        say(console, each, style="dim")
    say(console, "relative: L2 norm of the difference over that of PyTorch's output; channels last", style="dim")
    say(console, report.verdict(), style="green" if report.passed else "red")


def _numbers(difference: Difference | None) -> tuple[str, str, str]:
    if difference is None:
        return "?", "?", "?"
    return f"{difference.max_abs:.1e}", f"{difference.relative:.1e}", f"{difference.cosine:.6f}"


def _mark(agrees: bool, first: bool = False) -> Text:
    if agrees:
        return Text("✓", style="green")
    return Text("✗ first" if first else "✗", style="red")
