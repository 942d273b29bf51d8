"""The table that a fit ends with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mcubench.console import say_command
from mcubench.cost import BitWidths
from mcubench.cost.units import bytes_text
from mcubench.results.form import form_of
from mcubench.results.result import Result
from mcubench.results.run_folder import shown

__all__ = ["PICTURES", "print_result"]

PICTURES = ("curves.png", "confusion.png")  # what a fit draws into its folder


def print_result(result: Result, folder: Path, seconds_in_all: float, hints: Sequence[str], console: Console) -> None:
    """Prints a result for people.

    Args:
        result: The result.
        folder: The run's folder.
        seconds_in_all: Wall time of the whole command.
        hints: Commands to try next.
        console: Where to print.
    """
    data = result.data["name"] if result.data else "its own data"
    table = Table(title=f"{result.model['name']} on {data}", title_style="bold")
    table.add_column("")
    for heading in ("train", "validation", "test"):
        table.add_column(heading, justify="right")
    forms = [(result.form, result.accuracy, result.macro_f1)]
    if (other := result.other_form) is not None:
        forms.append((other["form"], other["accuracy"], other["macro_f1"]))
    for form, accuracy, _ in forms:
        table.add_row(f"accuracy, {form}", *_percentages(accuracy))
    for form, _, macro_f1 in forms:
        table.add_row(f"macro-F1, {form}", *_percentages(macro_f1))
    if result.split:
        table.add_row("samples", *(f"{size:,}" for size in result.split["sizes"].values()))
    console.print(table)

    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(result, folder, seconds_in_all):
        facts.add_row(name, Text(value))  # plain: a path may look like markup
    console.print(facts)
    for note in result.notes:
        console.print(f"note: {note}", style="yellow", markup=False, highlight=False)
    if hints:
        console.print("\nTry next:")
        for hint in hints:
            say_command(console, hint)


def _facts(result: Result, folder: Path, seconds_in_all: float) -> list[tuple[str, str]]:
    facts = [("parameters", f"{result.params:,}"), ("costs", _costs(result))]
    if result.preprocessing:
        facts += _features(result.inputs or {}, result.preprocessing)
    val, test = result.accuracy.get("val"), result.accuracy.get("test")
    if val is not None and test is not None:
        facts.append(("validation - test", f"{100 * (val - test):+.2f} points of accuracy ({_split(result)})"))
    epoch = result.seconds["epoch"]
    pace = f"{epoch:.3g} s per epoch (median of {result.epochs}), " if epoch is not None else ""
    threads = "" if result.threads is None else f", {result.threads} thread{'s'[: result.threads > 1]}"
    facts.append(("time", f"{pace}{seconds_in_all:.1f} s in all{threads}"))
    scored = result.checkpoint["path"] or "the weights as they were trained last"
    if result.checkpoint.get("monitor"):
        monitor, value, at = (result.checkpoint[key] for key in ("monitor", "value", "epoch"))
        scored = f"{scored} (epoch {at}, {monitor} {value:.4f})"
    if by := result.checkpoint.get("averaged_by"):
        scored = f"{scored}, averaged by {by}"
    facts.append(("scored", scored))
    facts.append(("seed", str(result.seed)))
    facts.append(("saved in", shown(folder)))
    if pictures := [name for name in PICTURES if (folder / name).exists()]:
        facts.append(("pictures", ", ".join(pictures)))
    return facts


def _costs(result: Result) -> str:
    def known(value: int | None, text: Callable[[int], str]) -> str:
        return "?" if value is None else text(value)

    bits = form_of(BitWidths(result.bits["weight"], result.bits["activation"]))
    return (
        f"{known(result.macs, '{:,}'.format)} MACs, {known(result.flash_bytes, bytes_text)} flash, "
        f"{known(result.ram_bytes, bytes_text)} RAM ({bits})"
    )


def _features(inputs: dict[str, Any], cost: dict[str, Any]) -> list[tuple[str, str]]:
    """Where features are from, how they are scaled, and what they cost on top of the model."""
    source = f" {inputs['source']}" if "source" in inputs else ""
    fitted_on = (inputs.get("scaling") or {}).get("fitted_on")
    scaled = "" if fitted_on is None else f"; scaled by the ranges of {fitted_on}"
    if fitted_on not in (None, "train"):
        scaled += ", which leaks: compare with papers only"
    copies = f", {len(cost['copies'])} of them copies of others" if cost["copies"] else ""
    other = sum(cost["operations"].values()) - cost["operations"]["macs"]
    return [
        ("features", f"{cost['features']}{source}{copies}{scaled}"),
        (
            "they cost",
            f"{cost['operations']['macs']:,} MACs and {other:,} other operations a window, "
            f"{bytes_text(cost['ram_bytes'])} RAM (float32), before the model's",
        ),
    ]


def _split(result: Result) -> str:
    if not result.split:
        return "foreign data"
    kind, fold, folds = (result.split[key] for key in ("kind", "fold", "folds"))
    return (
        f"{'split by subject' if kind == 'subject' else f'{kind} split'}{f', fold {fold} of {folds}' if folds else ''}"
    )


def _percentages(scores: dict[str, float | None]) -> list[str]:
    values = [scores.get(part) for part in ("train", "val", "test")]
    # A part that the form was not scored on at all is no unknown.
    there = [part in scores for part in ("train", "val", "test")]
    texts = ["?" if value is None else f"{100 * value:.2f} %" for value in values]
    return [text if each else "" for text, each in zip(texts, there, strict=True)]
