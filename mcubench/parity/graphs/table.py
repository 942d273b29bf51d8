"""The comparison of two graphs as a table, for people."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcubench.console import narrowed, say, wide
from mcubench.graph.ops.common import by
from mcubench.parity.graphs.compare import GraphParity

__all__ = ["print_graph_parity"]


def print_graph_parity(report: GraphParity, console: Console) -> None:
    """Prints a comparison: a row a layer, the outputs, what is on one side only, and the verdict."""
    console = wide(console)
    table = Table(
        title=Text(f"{report.one} and {report.other}, {report.samples} samples"),
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column(Text(report.one), overflow="fold", min_width=9)
    table.add_column(Text(report.other), overflow="fold", min_width=9)
    table.add_column("operation", overflow="fold")
    for heading in ("output", "max. abs.", "relative", "cosine"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for rows in (report.layers, report.outputs):
        for row in rows:
            far = row.difference
            table.add_row(
                Text(row.one),
                Text(row.other),
                Text(row.op),
                by(row.shape) or "1",
                f"{far.max_abs:.1e}",
                f"{far.relative:.1e}",
                f"{far.cosine:.6f}",
                Text("✓", style="green") if row.agrees else Text("✗", style="red"),
            )
        table.add_section()
    console.print(narrowed(table, console, "max. abs.", "cosine", "output"))
    for name, paths in zip((report.one, report.other), report.alone, strict=True):
        if paths:
            say(console, f"only in {name}, and not compared: {', '.join(paths)}", style="yellow")
    if report.top1 is not None:
        say(console, f"same largest output: {100 * report.top1:.4g} %")
    say(console, f"relative: L2 norm of the difference over that of {report.one}; channels last", style="dim")
    verdict = f"agree within {report.rtol:g}" if report.passed else f"differ by more than {report.rtol:g}"
    say(console, f"{report.one} and {report.other} {verdict}", style="green" if report.passed else "red")
