"""``result.json``: one row a run, with everything needed to compare it and to repeat it."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mcubench.errors import CorruptDataError, UserError
from mcubench.files import atomic_path
from mcubench.reading import read_json
from mcubench.results.form import FLOAT
from mcubench.results.result_fields import check_result
from mcubench.results.run_folder import run_of
from mcubench.schema import FaultError

__all__ = [
    "RESULT",
    "SCHEMA_VERSION",
    "SCORES",
    "Result",
    "add_measured",
    "git_commit",
    "measured_of",
    "package_versions",
    "read_finished",
    "read_result",
    "result_of",
    "scores_of",
]

SCHEMA_VERSION = 1

RESULT = "result.json"

_MEND = "restore it, run its fit again, or move it away"

# What tables of several runs show of each: a name, and where its result has it.
SCORES = {
    "val_accuracy": ("accuracy", "val"),
    "val_macro_f1": ("macro_f1", "val"),
    "test_accuracy": ("accuracy", "test"),
    "test_macro_f1": ("macro_f1", "test"),
}

_PACKAGES = ("mcubench", "torch", "lightning", "torchmetrics", "scikit-learn", "numpy")

# A score that could not be computed is null, and a note says why.
PerPart = dict[str, float | None]


@dataclass
class Result:
    """One run. docs/result.md documents every field; `schema_version` counts up when one changes its meaning.

    Attributes:
        model: ``name``, ``class_path`` and ``init_args`` of the module.
        data: The same of the data module; ``null`` where the module brings its own data.
        inputs: ``shape`` of a sample and its ``scaling`` (``mean`` and ``std`` per channel), or ``null``.
        split: How validation was chosen, and ``sizes`` of the parts; ``null`` for foreign data.
        seed: What ``seed_everything`` was given.
        accuracy: Of ``train``, ``val`` and ``test``, in 0 .. 1.
        macro_f1: The same.
        params: Number of trainable parameters.
        macs: Multiply-accumulates for one sample; ``null``, as the next two, where they are not known.
        flash_bytes: What the weights occupy at ``bits``.
        ram_bytes: What the activations occupy at ``bits``.
        bits: Widths of ``weight`` and ``activation`` that flash and RAM are priced at.
        epochs: Epochs trained.
        steps: Optimiser steps taken; ``null`` where Lightning does not see them.
        seconds: ``epoch`` (median, training only) and ``fit`` (with validation).
        checkpoint: What was scored: ``path`` in the run's folder; ``monitor``, ``value`` and ``epoch`` for a best one;
            ``averaged_by``, the callback's name, where its weights are averages.
        logged: What the module itself logged last, by name; ``null`` for what is not finite.
        versions: Of python and the packages that compute.
        command: The command line, word by word.
        git_commit: Of the working folder, where it is in a repository; with ``-dirty`` if files differ.
        preprocessing: What computing an input from a sensor's samples costs on a device; ``null`` where samples are it.
        notes: What could not be computed, and why.
        threads: Threads that it was trained with on the CPU.
        form: What ``accuracy`` and ``macro_f1`` are of: ``float``, ``8-bit``, ``16-bit`` or both widths in words.
        other_form: The same model otherwise: its ``form``, ``how`` it came about, ``accuracy`` and ``macro_f1`` of
            ``val`` and ``test``; ``null`` where there is no other one or it is not known.
        measured: What ``emulate`` measured last: ``core``, ``instructions``, ``code_bytes`` and so on; ``null`` before.
    """

    model: dict[str, Any]
    data: dict[str, Any] | None
    inputs: dict[str, Any] | None
    split: dict[str, Any] | None
    seed: int | None
    accuracy: PerPart
    macro_f1: PerPart
    params: int
    macs: int | None
    flash_bytes: int | None
    ram_bytes: int | None
    bits: dict[str, int]
    epochs: int
    steps: int | None
    seconds: dict[str, float | None]
    checkpoint: dict[str, Any]
    logged: PerPart
    versions: dict[str, str]
    command: list[str]
    git_commit: str | None
    preprocessing: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    threads: int | None = None
    form: str = FLOAT
    other_form: dict[str, Any] | None = None
    measured: dict[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    def save(self, folder: Path) -> Path:
        """Writes ``result.json`` into a folder and returns its path."""
        path = folder / RESULT
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", "utf-8")
        return path


def read_result(folder: Path) -> dict[str, Any]:
    """Reads the ``result.json`` of a run.

    Args:
        folder: The run's folder.

    Returns:
        The fields of `Result`; a file of an older version may lack those that have a default.

    Raises:
        FileNotFoundError: If the run has none.
        UserError: If it can't be read, or is of a later version.
        CorruptDataError: If it is damaged, or a value can't be what its field says; the field is named.
    """
    path = folder / RESULT
    try:
        row = read_json(path)
        version = row.get("schema_version") if isinstance(row, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise UserError(
                f"{path} has schema_version {version}, and this mcubench reads {SCHEMA_VERSION}: update mcubench, or "
                "leave it out"
            )
        if version != SCHEMA_VERSION or isinstance(version, bool):
            raise CorruptDataError(f"{path} is damaged: it has no schema_version {SCHEMA_VERSION}")
        check_result(row, "")
    except FaultError as error:
        raise CorruptDataError(f"{path} is damaged: {error}; {_MEND}") from None
    except CorruptDataError as error:
        raise CorruptDataError(f"{error}; {_MEND}") from None
    found: dict[str, Any] = row
    return found


def result_of(checkpoint: Path) -> dict[str, Any] | None:
    """The result of a run, if it is of this checkpoint.

    Raises:
        UserError: As `read_result` does.
    """
    folder = run_of(checkpoint)
    if folder is None or not (folder / RESULT).exists():
        return None
    row = read_result(folder)
    path = row["checkpoint"]["path"]
    return row if path is not None and folder / path == checkpoint else None


def measured_of(checkpoint: Path) -> dict[str, Any] | None:
    """What ``emulate`` measured of the model in a checkpoint, if it is the one that its run was scored with.

    Raises:
        UserError: As `read_result` does.
    """
    row = result_of(checkpoint)
    return None if row is None else row.get("measured")


def add_measured(checkpoint: Path, measured: Mapping[str, Any]) -> Path | None:
    """Adds what was measured of a run's model to its ``result.json``.

    Args:
        checkpoint: The file whose weights were measured.
        measured: The figures.

    Returns:
        The file; ``None`` where the checkpoint is not the one that the run was scored with.

    Raises:
        UserError: As `read_result` does.
    """
    row = result_of(checkpoint)
    if row is None:
        return None
    path = checkpoint.parents[1] / RESULT
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({**row, "measured": dict(measured)}, indent=2, allow_nan=False) + "\n", "utf-8")
    return path


def read_finished(folder: Path) -> dict[str, Any]:
    """The same as `read_result`, of one of several fits that are to be summed up.

    Raises:
        UserError: If the run left no result, and as `read_result` does.
    """
    try:
        return read_result(folder)
    except FileNotFoundError:
        raise UserError("the fit left no result.json to sum up; leave --trainer.fast_dev_run out") from None


def scores_of(result: Mapping[str, Any]) -> PerPart:
    """The `SCORES` of a result, by name."""
    return {name: result[score][part] for name, (score, part) in SCORES.items()}


def package_versions() -> dict[str, str]:
    """Versions of python and of the packages that compute results."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in _PACKAGES}}


def git_commit() -> str | None:
    """The commit of the working folder's repository, ``-dirty`` if tracked files differ; ``None`` outside of one."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607 - the user's git
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()
