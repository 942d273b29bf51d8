"""Tables in Markdown, printed or put into a text."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

from scipy import stats

from mcubench.errors import UserError
from mcubench.files import atomic_path

__all__ = ["interval", "table", "write_tables"]


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; a heading that ends in a colon is of numbers."""
    heads = head.split(" | ")
    lines = [heads, ["---:" if each.endswith(":") else "---" for each in heads], *rows]
    lines[0] = [each.removesuffix(":") for each in heads]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def interval(values: Sequence[float], form: str = ".2f", scale: float = 1.0) -> str:
    """A mean and half the width of its 95 % interval (Student's t), as a cell; the value alone if there is one.

    Args:
        values: The values.
        form: How numbers are written; a sign is the mean's only.
        scale: What they are multiplied by, as in 100 for points.
    """
    mean = f"{scale * statistics.mean(values):{form}}"
    if len(values) == 1:
        return mean
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {scale * half:{form.removeprefix('+')}}"


def write_tables(path: Path, tables: dict[str, str]) -> None:
    """Puts each table between its markers in a text."""
    text = path.read_text("utf-8")
    for name, content in tables.items():
        before, marker, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not (marker and end):
            raise UserError(f"{path} has no place <!-- {name} --> ... <!-- end -->")
        text = f"{before}{marker}{content}\n{end}{after}"
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")
