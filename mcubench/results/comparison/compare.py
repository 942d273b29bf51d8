"""From runs to rows: those that differ by their seed only are one, with a mean, an interval and its costs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mcubench.errors import UserError
from mcubench.results.comparison.naming import key_of, labels
from mcubench.results.comparison.reading import COSTS, MEANS, Run, read_runs
from mcubench.results.comparison.rows import Comparison, Mean, Range, Row, mean_of, pareto_front

__all__ = ["compare_runs"]

_Group = tuple[str, str]  # the data set, and all else that runs of a row have in common


def compare_runs(paths: Iterable[Path], names: Mapping[Path, tuple[str, str]] | None = None) -> Comparison:
    """Compares finished runs.

    Args:
        paths: Folders of runs, and folders that hold such folders, at most two levels down.
        names: Data set and row of runs by their folders, instead of names made from options. Runs of different names
            are different rows, even if they differ by their seed only; a data set's runs may differ in their inputs.

    Raises:
        UserError: If there is no run, or a ``result.json`` is damaged.
    """
    notes: list[str] = []
    given = {folder.resolve(): name for folder, name in (names or {}).items()}
    runs = _without_folds(read_runs(paths, notes), notes)
    groups: dict[_Group, list[Run]] = defaultdict(list)
    for run in runs:
        data_set, name = given.get(run.folder.resolve(), (run.data_set, None))
        groups[data_set, key_of(name, run.model, run.model_options, run.data_set)].append(run)
    groups = _without_repeats(groups, notes)
    data, models = _data_labels(groups), _model_labels(groups)
    for group, (run, *_) in groups.items():
        if run.folder.resolve() in given:
            data[group[0]], models[group] = given[run.folder.resolve()]
    by_set: dict[str, list[Row]] = defaultdict(list)
    for group, members in groups.items():
        by_set[group[0]].append(_row(data[group[0]], models[group], members, notes))
    rows = [row for each in by_set.values() for row in _with_fronts(each)]
    rows.sort(key=lambda row: (row.data, -row.test_accuracy.value if row.test_accuracy else math.inf, row.model))
    return Comparison(tuple(rows), tuple(notes))


def _without_folds(runs: Sequence[Run], notes: list[str]) -> list[Run]:
    """The runs that are no folds: each fold trains on other samples, so that they are no seeds of one another."""
    whole = [run for run in runs if not run.is_fold]
    if folds := len(runs) - len(whole):
        what = f"folds of a cross-validation ({folds}), whose folder has its own summary (folds.json)"
        if not whole:
            raise UserError(f"there is nothing to compare, only {what}; give runs on a single split")
        notes.append(f"left out: {what}")
    return whole


def _without_repeats(groups: Mapping[_Group, Sequence[Run]], notes: list[str]) -> dict[_Group, list[Run]]:
    """The newest of runs that have everything in common, seeds too: a repeat would make an interval too narrow."""
    kept: dict[_Group, list[Run]] = {}
    for group, runs in groups.items():
        newest: dict[str | int, Run] = {}
        for index, run in enumerate(runs):
            same = index if run.seeds is None else run.seeds
            if same not in newest or (newest[same].written, newest[same].folder.name) < (run.written, run.folder.name):
                newest[same] = run
        kept[group] = list(newest.values())
    if repeats := sum(map(len, groups.values())) - sum(map(len, kept.values())):
        notes.append(f"left out: repeats of the model, data and seeds of a newer run ({repeats})")
    return kept


def _data_labels(groups: Mapping[_Group, Sequence[Run]]) -> dict[str, str]:
    """The name of each data set."""
    first = {data_set: runs[0] for (data_set, _), runs in groups.items()}
    return dict(zip(first, labels([(run.data, run.data_options) for run in first.values()]), strict=True))


def _model_labels(groups: Mapping[_Group, Sequence[Run]]) -> dict[_Group, str]:
    """The name of each row, by what differs on its data set."""
    found: dict[_Group, str] = {}
    for data_set in dict.fromkeys(data_set for data_set, _ in groups):
        members = {group: runs[0] for group, runs in groups.items() if group[0] == data_set}
        texts = labels([(run.model, run.model_options) for run in members.values()])
        found.update(zip(members, texts, strict=True))
    return found


def _row(data: str, label: str, runs: Sequence[Run], notes: list[str]) -> Row:
    means: dict[str, Mean | None] = {}
    for name, where in MEANS.items():
        values = [run.values[name] for run in runs]
        means[name] = None if None in values else mean_of(values)
        if name != "float_test_accuracy" and 0 < values.count(None) < len(values):  # as the other one says already
            part = " ".join(reversed(where)).removesuffix(" priced")
            notes.append(
                f"{label} on {data}: {part} is not known of {values.count(None)} of {len(values)} "
                "runs, so that there is no mean"
            )
    costs: dict[str, Range | None] = {}
    for name in COSTS:
        values = [run.values[name] for run in runs]
        costs[name] = None if None in values else Range(min(values), max(values))
    epochs = [run.epochs for run in runs]
    if min(epochs) != max(epochs):
        notes.append(f"{label} on {data}: its runs were trained for {min(epochs)} to {max(epochs)} epochs")
    forms = ", ".join(sorted({run.form for run in runs}))
    folders = tuple(run.folder for run in runs)
    return Row(data=data, model=label, runs=folders, form=forms, **means, **costs)  # type: ignore[arg-type]


def _with_fronts(rows: Sequence[Row]) -> list[Row]:
    """Rows of one data set with their flags; where the cost varies by seed, the highest counts."""

    def front(cost: Callable[[Row], Range | None]) -> list[bool]:
        highest = (most.high if (most := cost(row)) else None for row in rows)
        scores = (row.test_accuracy.value if row.test_accuracy else None for row in rows)
        return pareto_front([*zip(highest, scores, strict=True)])

    flags = zip(rows, front(lambda row: row.flash_bytes), front(lambda row: row.macs), strict=True)
    return [replace(row, best_for_flash=flash, best_for_macs=macs) for row, flash, macs in flags]
