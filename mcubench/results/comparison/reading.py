"""Finds finished runs in folders, and reads what a comparison needs of each ``result.json``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcubench.errors import UnreadableError, UserError
from mcubench.reading import unreadable
from mcubench.results.comparison.naming import key_of
from mcubench.results.form import FLOAT, priced_scores
from mcubench.results.result import RESULT, read_result
from mcubench.results.run_folder import CONFIG, shown

__all__ = ["COSTS", "MEANS", "Run", "read_runs"]

# What a row averages over, and what each of its runs costs: the field of `Row`, and where result.json has it; of its
# forms, ``priced`` is the one whose scores belong to the price.
MEANS = {
    "test_accuracy": ("priced", "accuracy", "test"),
    "val_accuracy": ("priced", "accuracy", "val"),
    "test_macro_f1": ("priced", "macro_f1", "test"),
    "float_test_accuracy": ("float", "accuracy", "test"),
    "fit_seconds": ("seconds", "fit"),
}
COSTS = {
    "macs": ("macs",),
    "flash_bytes": ("flash_bytes",),
    "ram_bytes": ("ram_bytes",),
    "params": ("params",),
    "features_macs": ("preprocessing", "operations", "macs"),
    "instructions": ("measured", "instructions"),
    "device_flash_bytes": ("measured", "flash_bytes"),
    "device_ram_bytes": ("measured", "ram_bytes"),
}

_LATER = ("preprocessing", "measured")  # fields that old files lack

_DEPTH = 2  # folders of runs, and folders of such folders, as a suite or a cross-validation writes them

_SEED = re.compile(r"(.*_)?seed|random_state")
_NOT_THE_DATA = ("root", "seed")  # where the files lie, and the order of training: neither changes what is scored
_TRAINING = "batch_size"  # an option of the data module's that says nothing about the data


@dataclass(frozen=True)
class Run:
    """What a comparison needs of a ``result.json``.

    Attributes:
        folder: Where it lies.
        written: When, in nanoseconds.
        model: The name of the model's class.
        model_options: What it was made with, without seeds.
        data: The name of the data module's class.
        data_options: What it was made with, as far as it changes what is scored.
        seeds: All seeds, as one key; ``None`` if the run was not seeded.
        epochs: Epochs trained.
        is_fold: Whether it is one fold of a cross-validation.
        form: What its scores are of: ``float``, ``8-bit`` or other widths in words.
        values: `MEANS` and `COSTS`, by field.
    """

    folder: Path
    written: int
    model: str
    model_options: dict[str, Any]
    data: str
    data_options: dict[str, Any]
    seeds: str | None
    epochs: int
    is_fold: bool
    form: str
    values: dict[str, Any]

    @property
    def data_set(self) -> str:
        """Equal for runs that are scored on the same samples."""
        return key_of(self.data, self.data_options)


def read_runs(paths: Iterable[Path], notes: list[str]) -> list[Run]:
    """Reads finished runs, each once, in the order given.

    Args:
        paths: Folders of runs, and folders that hold such folders, or folders of such folders.
        notes: Takes a line on each of these in which runs are not finished, and one on what can't be read: what others
            keep to themselves is left out.

    Raises:
        UserError: If one of them does not exist or holds no finished run, if no run can be read, or if one is of a
            later version.
        CorruptDataError: If a ``result.json`` is damaged; the message says where.
    """
    hidden: list[UnreadableError] = []
    runs = []
    for folder in _find_runs(paths, notes, hidden):
        try:
            runs.append(_read_run(folder))
        except UnreadableError as error:
            hidden.append(error)
        except OSError as error:  # it was there a moment ago
            hidden.append(unreadable(folder, error))
    if hidden and not runs:
        raise hidden[0]
    if hidden:
        more = f" (and {len(hidden) - 1} more)" if len(hidden) > 1 else ""
        notes.append(f"left out: {hidden[0]}{more}")
    return runs


def _find_runs(paths: Iterable[Path], notes: list[str], hidden: list[UnreadableError]) -> list[Path]:
    """The folders of finished runs, each once, in the order given."""
    found: dict[Path, Path] = {}
    for path in paths:
        try:
            runs = list(_runs_at(path, notes, hidden))
        except OSError as error:
            hidden.append(unreadable(path, error))
            continue
        for run in runs:
            found.setdefault(run.resolve(), run)
    return list(found.values())


def _runs_at(path: Path, notes: list[str], hidden: list[UnreadableError]) -> Iterator[Path]:
    """The folders of finished runs in one that was given, or this one itself."""
    if not path.is_dir():
        raise UserError(f"there is no folder {path}; give folders of runs, or a folder of them such as runs")
    if _is_finished(path):
        yield path
        return
    if _is_begun(path):
        raise UserError(
            f"{path} has no {RESULT}: its fit has not ended. Finish it (fit --ckpt_path {path}), leave it out, or give "
            "the folder it lies in, whose unfinished runs are left out"
        )
    before = len(hidden)
    begun = list(_runs_in(path, _DEPTH, hidden))
    finished = [run for run in begun if _is_finished(run)]
    if not finished and len(hidden) == before:
        raise UserError(f"there is no finished run in {path}: no folder in it has a {RESULT}; run fit first")
    if missing := len(begun) - len(finished):
        notes.append(f"left out: {missing} of {len(begun)} runs in {shown(path)}, unfinished (no {RESULT})")
    yield from finished


def _is_finished(folder: Path) -> bool:
    return (folder / RESULT).exists()


def _is_begun(folder: Path) -> bool:
    return (folder / CONFIG).exists() or (folder / "checkpoints").exists()


def _runs_in(parent: Path, depth: int, hidden: list[UnreadableError]) -> Iterator[Path]:
    """The folders of runs, finished or not, in a folder; what lies within a run is none."""
    for folder in sorted(each for each in parent.iterdir() if each.is_dir() and not each.name.startswith(".")):
        try:
            if _is_finished(folder) or _is_begun(folder):
                yield folder
            elif depth > 1:
                yield from _runs_in(folder, depth - 1, hidden)
        except OSError as error:
            hidden.append(unreadable(folder, error))


def _read_run(folder: Path) -> Run:
    row = read_result(folder)
    model, data, split = row["model"], row["data"], row["split"]
    name = model["name"]
    seeds: dict[str, Any] = {}
    model_options = _without_seeds({"class_path": model["class_path"], **model["init_args"]}, seeds)
    if data is None:  # what a module brings along can be told by its class only
        data_name, data_options = f"data of {name}", {"class_path": model["class_path"]}
    else:
        data_name = data["name"]
        data_options = {"class_path": data["class_path"], **data["init_args"]}
        seeds["data.seed"] = data_options.get("seed")
        if _TRAINING in data_options:
            model_options[_TRAINING] = data_options[_TRAINING]
        data_options = {key: value for key, value in data_options.items() if key not in (*_NOT_THE_DATA, _TRAINING)}
    priced = priced_scores(row)
    forms = (each for each in (row, row.get("other_form")) if each is not None and each.get("form", FLOAT) == FLOAT)
    row = {**row, "priced": priced, "float": next(forms, None)}
    seeded = isinstance(row["seed"], int) and not isinstance(row["seed"], bool)
    return Run(
        folder=folder,
        written=(folder / RESULT).stat().st_mtime_ns,
        model=name,
        model_options=_set(model_options),
        data=data_name,
        data_options=_set(data_options),
        seeds=key_of(row["seed"], seeds) if seeded else None,
        epochs=row["epochs"],
        is_fold=split is not None and split.get("folds") is not None,
        form=priced["form"],
        values={field: _value(row, where) for field, where in (MEANS | COSTS).items()},
    )


def _value(row: dict[str, Any], where: tuple[str, ...]) -> float | None:
    """The number at a place in a ``result.json``; ``None`` if it is not known, or nothing is there to have it."""
    found: Any = row
    for key in where:
        found = found.get(key) if key in _LATER else found[key]
        if found is None:
            return None
    number: float = found
    return number


def _without_seeds(options: dict[str, Any], seeds: dict[str, Any], place: str = "model") -> dict[str, Any]:
    """Options without those that are seeds, at any depth; these go to `seeds`."""
    kept = {}
    for name, value in options.items():
        if _SEED.fullmatch(name):
            seeds[f"{place}.{name}"] = value
        else:
            kept[name] = _without_seeds(value, seeds, f"{place}.{name}") if isinstance(value, dict) else value
    return kept


def _set(options: dict[str, Any]) -> dict[str, Any]:
    """The options that are set: an older run lacks those that came later, and these are null by default."""
    return {name: value for name, value in options.items() if value is not None}
