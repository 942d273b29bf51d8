"""What stands in a table of rows, as text."""

from __future__ import annotations

from collections.abc import Callable

from mcubench.results.comparison.rows import Comparison, Mean, Range, Row
from mcubench.results.form import UNKNOWN, short_form

__all__ = ["LEFT", "columns", "legend"]

LEFT = "model"  # the column that is set to the left: all others are numbers


def columns(
    comparison: Comparison, cost: Callable[[Range], str], best: Callable[[str], str]
) -> dict[str, Callable[[Row], str]]:
    """What stands in a row, by heading.

    Args:
        comparison: What the table is of.
        cost: Writes a cost.
        best: Marks the text of a cost for which its row is on the Pareto front.
    """

    def mean(found: Mean | None, factor: float = 100) -> str:
        if found is None:
            return "?"
        half = "" if found.half_width is None else f" ±{factor * found.half_width:.2f}"
        return f"{factor * found.value:.2f}{half}"

    def text(found: Range | None, on_front: bool = False) -> str:
        if found is None:
            return "?"
        return best(cost(found)) if on_front else cost(found)

    found: dict[str, Callable[[Row], str]] = {
        LEFT: lambda row: row.model,
        "seeds": lambda row: str(len(row.runs)),
        "bits": lambda row: short_form(row.form),
        "test [%]": lambda row: mean(row.test_accuracy),
        "val [%]": lambda row: mean(row.val_accuracy),
        "F1 [%]": lambda row: mean(row.test_macro_f1),
        "float [%]": lambda row: mean(row.float_test_accuracy),
        "MACs": lambda row: text(row.macs, row.best_for_macs),
        "flash [B]": lambda row: text(row.flash_bytes, row.best_for_flash),
        "RAM [B]": lambda row: text(row.ram_bytes),
        "params": lambda row: text(row.params),
        "fit [s]": lambda row: mean(row.fit_seconds, 1),
    }
    if comparison.has_features:
        found["features MACs"] = lambda row: text(row.features_macs) if row.features_macs else "-"
    if comparison.is_measured:
        found["instructions"] = lambda row: text(row.instructions)
        found["code, constants [B]"] = lambda row: text(row.device_flash_bytes)
        found["RAM there [B]"] = lambda row: text(row.device_ram_bytes)
    return found


def legend(comparison: Comparison, best: str) -> list[str]:
    """What the table does not say itself.

    Args:
        comparison: What the table is of.
        best: How costs on the Pareto front are marked.
    """
    lines = [
        f"{best}: on the Pareto front; no other row has a better test accuracy for no more MACs (or flash), "
        "or the same for less"
    ]
    lines.append(
        "bits: what test, val and F1 are of, and MACs, flash and RAM the price of; float [%]: test accuracy unrounded"
    )
    if any(UNKNOWN in row.form for row in comparison.rows):
        lines.append("float/8: scored unrounded, as the 8-bit form that is priced is not known")
    if any("activations" in row.form for row in comparison.rows):
        lines.append("w4a8: weights of 4 bits, activations of 8")
    if any(len(row.runs) > 1 for row in comparison.rows):
        lines.append("±: half the 95 % interval of the mean over seeds, by Student's t")
    if comparison.has_features:
        lines.append("features MACs: computing the inputs from a sensor's samples, before the model's MACs")
    if comparison.is_measured:
        lines.append(
            "instructions, code and constants, RAM there: of one inference on the core that emulate ran it on, with "
            "stack, input and output"
        )
    return lines
