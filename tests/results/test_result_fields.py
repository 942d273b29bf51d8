"""No field of a ``result.json`` is believed whatever it says: that of a real run, altered in one place at a time."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mcubench.cost import BitWidths
from mcubench.errors import CorruptDataError
from mcubench.results.form import form_of
from mcubench.results.result import Result, read_result
from tests.trained import digits_run

__all__ = ["digits_run"]

NO_COUNT = (-1, 0.5, "x", True, 10**400, math.nan, [])
NO_SHARE = (-0.1, 17, "x", True, math.inf)
NO_TEXT = (5, [], {})
NO_OBJECT = (5, "x", [])
WRONG: dict[str, tuple[Any, ...]] = {
    "schema_version": (0, "1", None, True),
    "model": (None, *NO_OBJECT),
    "model.name": (None, *NO_TEXT),
    "model.class_path": NO_TEXT,
    "model.init_args": (None, *NO_OBJECT),
    "data": NO_OBJECT,
    "data.class_path": NO_TEXT,
    "inputs": NO_OBJECT,
    "inputs.shape": ("x", [-1]),
    "split": NO_OBJECT,
    "split.sizes": (None, {}, {"train": 1, "val": -1, "test": 1}),
    "split.kind": (None, *NO_TEXT, "by luck"),
    "split.val_fraction": NO_SHARE,
    "split.folds": NO_COUNT,
    "split.fold": NO_COUNT,
    "split.seed": NO_COUNT,
    "seed": (-1, 0.5, "x"),
    "accuracy": (None, 0.9, {}),
    "accuracy.train": NO_SHARE,
    "accuracy.val": NO_SHARE,
    "accuracy.test": NO_SHARE,
    "macro_f1": (None, 0.9, {}),
    "macro_f1.test": NO_SHARE,
    "params": (None, *NO_COUNT),
    "macs": NO_COUNT,
    "flash_bytes": NO_COUNT,
    "ram_bytes": NO_COUNT,
    "bits": (None, 8, {"weight": 8}),
    "bits.weight": (None, 0, 64, "8"),
    "epochs": (None, *NO_COUNT),
    "steps": NO_COUNT,
    "seconds": (None, 5),
    "seconds.fit": (-1, "x", math.inf, 1e300),
    "seconds.epoch": (-1, "x", math.nan),
    "checkpoint": (None, *NO_OBJECT),
    "checkpoint.path": NO_TEXT,
    "checkpoint.epoch": NO_COUNT,
    "checkpoint.value": ("x", math.nan),
    "logged": (None, *NO_OBJECT, {"x": "y"}, {"x": math.inf}),
    "versions": (None, *NO_OBJECT, {"torch": 2}),
    "command": (None, "fit", [1]),
    "git_commit": NO_TEXT,
    "preprocessing": (*NO_OBJECT, {}, {"operations": {"macs": -1}}),
    "notes": (None, "x", [5]),
    "threads": NO_COUNT,
    "form": (None, *NO_TEXT, "many", "8-bits", "float and 8-bit"),
    "other_form": (*NO_OBJECT, {"form": "8-bit"}),
    "other_form.accuracy": (None, {}, {"val": 1, "test": 17}),
    "measured": (
        *NO_OBJECT,
        {"core": "cortex-m4"},
        {"core": "cortex-m4", "instructions": -1, "cycles": None, "flash_bytes": 1, "ram_bytes": 1},
        {"core": "cortex-m4", "instructions": 1, "cycles": [1], "flash_bytes": 1, "ram_bytes": 1},
    ),
}


def altered(row: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    row = copy.deepcopy(row)
    *outer, last = where.split(".")
    place = row
    for name in outer:
        place = place[name]
    assert last in place, f"{where} is no field of this result"
    place[last] = value
    return row


def test_every_field_is_altered() -> None:
    assert {where.partition(".")[0] for where in WRONG} == {each.name for each in dataclasses.fields(Result)}


@pytest.mark.parametrize("where", WRONG)
def test_what_a_field_can_not_be_is_named(digits_run: Path, tmp_path: Path, where: str) -> None:
    row = read_result(digits_run)
    for value in WRONG[where]:
        (tmp_path / "result.json").write_text(json.dumps(altered(row, where, value)))
        with pytest.raises(CorruptDataError, match=rf"result\.json is damaged: .*{where}.*; restore it, run its fit"):
            read_result(tmp_path)


@pytest.mark.parametrize("per_layer", [{}, {"layers.0": 4}])
@pytest.mark.parametrize(("weight", "activation"), [(8, 8), (4, 8), (2, 4), (16, 16), (32, 32), (32, 8)])
def test_every_form_that_is_written_is_read(
    digits_run: Path, tmp_path: Path, weight: int, activation: int, per_layer: dict[str, int]
) -> None:
    row = read_result(digits_run) | {"form": form_of(BitWidths(weight, activation, per_layer))}
    (tmp_path / "result.json").write_text(json.dumps(row))
    assert read_result(tmp_path)["form"] == row["form"]


def test_what_is_missing_is_named(digits_run: Path, tmp_path: Path) -> None:
    """Fields that came later have a default, as files of older versions lack them."""
    row = read_result(digits_run)
    for field in dataclasses.fields(Result):
        (tmp_path / "result.json").write_text(json.dumps({key: row[key] for key in row if key != field.name}))
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if optional and field.name != "schema_version":
            assert field.name not in read_result(tmp_path)
        else:
            with pytest.raises(CorruptDataError, match=rf"(no {field.name} 1|{field.name} is missing)"):
                read_result(tmp_path)
