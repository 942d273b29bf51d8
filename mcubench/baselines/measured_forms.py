"""A classical model in each form that a device can store it in: what it scores, and what it costs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from mcubench.baselines.base import Baseline
from mcubench.baselines.rounded import FORMS, Form, round_estimator
from mcubench.console import say, wide
from mcubench.cost import profile
from mcubench.errors import UserError
from mcubench.export.report import form
from mcubench.files import atomic_path

__all__ = ["ClassicalForm", "measure_forms", "print_forms", "save_forms"]


@dataclass(frozen=True)
class ClassicalForm:
    """A classical model in one form, on the test set.

    Attributes:
        form: ``float``, or ``int8``, ``int16`` or ``float32``.
        accuracy: Share of samples that are right.
        macro_f1: Mean F1 of the classes.
        agreement: Share of samples that get the class that the float estimator gives them.
        flash_bytes: What its numbers occupy; ``None`` if that is not known, and of the float estimator, whose numbers
            have 64 bits.
        ram_bytes: What its values occupy.
        scored: Whether the run is scored in it.
    """

    form: str
    accuracy: float
    macro_f1: float
    agreement: float
    flash_bytes: int | None
    ram_bytes: int | None
    scored: bool


def measure_forms(model: Baseline, x: NDArray[Any], y: NDArray[Any], train: NDArray[Any]) -> list[ClassicalForm]:
    """Scores and prices a fitted model in each form.

    Args:
        model: The model.
        x: Test samples, (N, *shape).
        y: Their classes, (N,).
        train: Training samples that ranges are taken from, (M, *shape).
    """
    assert model.rounded is not None
    x, train = x.reshape(len(x), -1), train.reshape(len(train), -1)
    in_float = np.asarray(model.float_estimator.predict(x)).astype(int)
    rows = [_row("float", in_float, in_float, y, (None, None), scored=False)]
    for each in FORMS:
        scored = model.rounded.form == each
        rounded = model.rounded if scored else _rounded(model, each, train)
        if rounded is not None:
            report = profile(rounded.estimator, x[:1], FORMS[each])
            costs = report.flash_bytes, report.ram_bytes
            rows.append(_row(each, rounded.predict(x).astype(int), in_float, y, costs, scored))
    return rows


def _rounded(model: Baseline, name: Form, train: Any) -> Any:
    """The estimator in a form; ``None`` if it can't be computed in it."""
    try:
        return round_estimator(model.estimator, name, train)
    except UserError:
        return None


def _row(
    name: str, classes: Any, in_float: Any, y: Any, costs: tuple[int | None, int | None], scored: bool
) -> ClassicalForm:
    found = form(name, classes, in_float, y)
    return ClassicalForm(name, found.accuracy, found.macro_f1, found.agreement, *costs, scored)


def print_forms(model: str, data: str, rows: list[ClassicalForm], console: Console) -> None:
    """Prints the forms, a line each."""
    console = wide(console)
    table = Table(title=f"{model} on {data}, test set", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in ("accuracy", "macro-F1", "same class as float", "flash [B]", "RAM [B]"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        shares = (f"{100 * share:.2f} %" for share in (row.accuracy, row.macro_f1, row.agreement))
        costs = ("" if cost is None else f"{cost:,}" for cost in (row.flash_bytes, row.ram_bytes))
        table.add_row(f"{row.form}{' *' if row.scored else ''}", *shares, *costs)
    console.print(table)
    say(console, "*: the form that the run is scored and priced in; fit --model.bits chooses another one", style="dim")
    if len(rows) < len(FORMS) + 1:
        say(console, "its arithmetic in integers is not known, so it is scored in float32 only", style="dim")


def save_forms(model: str, data: str, rows: list[ClassicalForm], target: Path) -> None:
    """Writes all figures as JSON."""
    content = {"model": model, "data": data, "forms": [asdict(row) for row in rows]}
    with atomic_path(target) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
