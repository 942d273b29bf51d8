"""A comparison as CSV, for programs, and as Markdown, for reports."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from mcubench.files import atomic_path
from mcubench.results.comparison.columns import LEFT, columns, legend
from mcubench.results.comparison.reading import COSTS, MEANS
from mcubench.results.comparison.rows import Comparison, Mean, Range
from mcubench.results.run_folder import shown

__all__ = ["save_csv", "save_markdown"]


def save_csv(comparison: Comparison, target: Path) -> None:
    """Writes all figures, a row each: shares in 0 .. 1, half-widths of intervals, costs from and to."""
    costs = [name for name in COSTS if comparison.has(name)]
    header = ["data", "model", "seeds", "form"]
    header += [heading for name in MEANS for heading in (name, f"{name}_ci95")]
    header += [heading for name in costs for heading in (f"{name}_min", f"{name}_max")]
    header += ["best_for_flash", "best_for_macs", "runs"]
    with atomic_path(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row in comparison.rows:
            cells: list[Any] = [row.data, row.model, len(row.runs), row.form]
            for name in MEANS:
                mean: Mean | None = getattr(row, name)
                cells += ["?", ""] if mean is None else [mean.value, mean.half_width]  # csv writes None as nothing
            for name in costs:
                cost: Range | None = getattr(row, name)
                unknown = "" if name == "features_macs" else "?"
                cells += [unknown, unknown] if cost is None else [cost.low, cost.high]
            writer.writerow([*cells, int(row.best_for_flash), int(row.best_for_macs), ";".join(map(shown, row.runs))])


def save_markdown(comparison: Comparison, target: Path) -> None:
    """Writes one table, with the data set in a column of its own, its legend and the notes."""
    cells = columns(comparison, _span, lambda text: f"**{text}**")
    lines = [
        ["data", *cells],
        ["---", *("---" if heading == LEFT else "---:" for heading in cells)],
        *([row.data, *(text(row) for text in cells.values())] for row in comparison.rows),
    ]
    bar = r"\|"  # as a cell has it
    table = "".join(f"| {' | '.join(cell.replace('|', bar) for cell in line)} |\n" for line in lines)
    remarks = "".join(f"- {line}\n" for line in [*legend(comparison, "**bold**"), *comparison.notes])
    with atomic_path(target) as temporary:
        temporary.write_text(f"{table}\n{remarks}", "utf-8")


def _span(cost: Range) -> str:
    return f"{cost.low:,}" if cost.low == cost.high else f"{cost.low:,} to {cost.high:,}"
