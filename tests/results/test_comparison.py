"""Comparisons: which runs are one row, its mean and interval, and who is on the Pareto front."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.text import Text as MplText
from rich.console import Console
from scipy import stats

from mcubench.errors import CorruptDataError, UnreadableError, UserError
from mcubench.results.comparison import Mean, Range, Row, compare_runs, print_comparison, report_comparison
from mcubench.results.comparison.plot import _draw, can_be_drawn, plot_pareto
from mcubench.results.comparison.rows import mean_of, pareto_front
from mcubench.results.comparison.writing import save_csv
from mcubench.results.result import Result
from tests.unreadable import hidden_from_us

_count = itertools.count()
FORMS = ("csv", "md", "png", "svg")


def write_run(
    root: Path,
    name: str = "",
    model: str = "MLP",
    data: str | None = "Digits",
    options: dict[str, Any] | None = None,
    data_options: dict[str, Any] | None = None,
    seed: int | None = 0,
    folds: int | None = None,
    test: float | None = 0.9,
    features: int | None = None,
    **fields: Any,
) -> Path:
    """Writes the result of a run that never was, and returns its folder."""
    folder = root / (name or f"run{next(_count):04}")
    folder.mkdir(parents=True)
    preprocessing = None if features is None else {"operations": {"macs": features}}
    row: dict[str, Any] = {
        "model": {"name": model, "class_path": f"mine.{model}", "init_args": {"width": 4, **(options or {})}},
        "data": None
        if data is None
        else {
            "name": data,
            "class_path": f"mine.{data}",
            "init_args": {"split_seed": 0, "batch_size": 50, **(data_options or {})},
        },
        "inputs": None,
        "split": None
        if folds is None
        else {"kind": "stratified", "sizes": {"train": 8, "val": 2, "test": 5}, "folds": folds, "fold": 0},
        "seed": seed,
        "accuracy": {"train": 0.99, "val": 0.95, "test": test},
        "macro_f1": {"train": 0.99, "val": 0.94, "test": test},
        "params": 100,
        "macs": 1000,
        "flash_bytes": 400,
        "ram_bytes": 64,
        "bits": {"weight": 8, "activation": 8},
        "epochs": 3,
        "steps": 30,
        "seconds": {"epoch": 1.0, "fit": 3.5},
        "checkpoint": {"path": None},
        "logged": {},
        "versions": {},
        "command": [],
        "git_commit": None,
        "preprocessing": preprocessing,
    }
    Result(**(row | fields)).save(folder)
    return folder


def only(root: Path) -> Row:
    (row,) = compare_runs([root]).rows
    return row


def change(folder: Path, **fields: Any) -> None:
    path = folder / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


class TestNumbers:
    def test_by_hand(self) -> None:
        # 0.8, 0.9, 1.0: s = 0.1; t with 2 degrees of freedom is 4.302653 (printed tables)
        mean = mean_of([0.8, 0.9, 1.0])
        assert mean.value == pytest.approx(0.9)
        assert mean.half_width == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)

    @given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
    def test_as_scipy_has_it(self, values: list[float]) -> None:
        mean = mean_of(values)
        assert mean.half_width is not None
        error = stats.sem(values)
        low, high = stats.t.interval(0.95, len(values) - 1, loc=sum(values) / len(values), scale=error or 1)
        assert mean.value == pytest.approx((low + high) / 2, abs=1e-9)
        assert mean.half_width == pytest.approx((high - low) / 2 if error else 0, abs=1e-9)

    def test_one_seed_has_no_interval(self) -> None:
        assert mean_of([0.7]) == Mean(0.7, None)

    @given(
        st.lists(
            st.tuples(st.none() | st.integers(0, 5), st.none() | st.integers(0, 5).map(lambda n: n / 5)), max_size=9
        )
    )
    def test_the_front_by_brute_force(self, points: list[tuple[int | None, float | None]]) -> None:
        def beats(one: tuple[Any, Any], other: tuple[Any, Any]) -> bool:
            return bool(
                (one[0] < other[0] and one[1] >= other[1]) or (one[0] == other[0] and one[1] > other[1])
            )  # cheaper and no worse, or as cheap and better

        expected = [
            None not in point and not any(beats(rival, point) for rival in points if None not in rival)
            for point in points
        ]
        assert pareto_front(points) == expected

    def test_a_front_by_hand(self) -> None:
        points = [(10, 0.9), (20, 0.8), (20, 0.95), (5, 0.5), (20, 0.95), (None, 1.0), (1, None)]
        assert pareto_front(points) == [True, False, True, True, True, False, False]


class TestGroups:
    def test_seeds_are_one_row(self, tmp_path: Path) -> None:
        for seed, test in enumerate((0.8, 0.9, 1.0)):
            write_run(tmp_path, seed=seed, test=test)
        row = only(tmp_path)
        assert len(row.runs) == 3
        assert row.test_accuracy == mean_of([0.8, 0.9, 1.0])
        assert row.test_macro_f1 == mean_of([0.8, 0.9, 1.0])
        assert row.val_accuracy == Mean(0.95, 0)
        assert row.fit_seconds == Mean(3.5, 0)
        assert (row.data, row.model) == ("Digits", "MLP")
        assert (row.macs, row.flash_bytes, row.ram_bytes, row.params) == (
            *(Range(1000, 1000), Range(400, 400), Range(64, 64), Range(100, 100)),
        )
        assert row.features_macs is None

    @pytest.mark.parametrize(
        "seeds", [{"seed": 1}, {"random_state": 1}, {"init_seed": 1}, {"arguments": {"random_state": 1}}]
    )
    def test_seeds_of_a_model_do_not_separate(self, tmp_path: Path, seeds: dict[str, Any]) -> None:
        write_run(tmp_path)
        write_run(tmp_path, options={**seeds, "arguments": seeds.get("arguments", {})})
        write_run(tmp_path, options={"arguments": {}})
        rows = compare_runs([tmp_path]).rows
        assert sorted(len(row.runs) for row in rows) == [1, 2]

    @pytest.mark.parametrize("options", [{"root": "elsewhere"}, {"seed": 3}, {"folds": None}])
    def test_what_is_not_the_data_does_not_separate(self, tmp_path: Path, options: dict[str, Any]) -> None:
        write_run(tmp_path, seed=0)
        write_run(tmp_path, seed=1, data_options=options)
        assert len(only(tmp_path).runs) == 2

    def test_the_seed_of_a_split_separates(self, tmp_path: Path) -> None:
        write_run(tmp_path, seed=0)
        write_run(tmp_path, seed=1, data_options={"split_seed": 1})
        assert [row.data for row in compare_runs([tmp_path]).rows] == ["Digits split_seed=0", "Digits split_seed=1"]

    def test_the_size_of_a_batch_is_the_models(self, tmp_path: Path) -> None:
        write_run(tmp_path)
        write_run(tmp_path, data_options={"batch_size": 10})
        rows = compare_runs([tmp_path]).rows
        assert {(row.data, row.model) for row in rows} == {("Digits", f"MLP batch_size={size}") for size in (10, 50)}

    def test_labels_say_what_differs(self, tmp_path: Path) -> None:
        write_run(tmp_path, model="Tree", options={"depth": 5, "leaves": None})
        write_run(tmp_path, model="Tree", options={"depth": None, "leaves": 3})
        write_run(tmp_path, model="Tree", data="MNIST", options={"depth": 5, "num_classes": 7})
        write_run(tmp_path, model="MLP", options={"hidden": [4, 2], "kind": "pkg.sub.Kind"})
        write_run(tmp_path, model="MLP", options={"hidden": [4], "kind": "pkg.Other"})
        labels = {(row.data, row.model) for row in compare_runs([tmp_path]).rows}
        assert labels == {
            ("Digits", "Tree depth=5"),
            ("Digits", "Tree leaves=3"),
            ("MNIST", "Tree"),
            ("Digits", "MLP hidden=[4,2] kind=Kind"),
            ("Digits", "MLP hidden=[4] kind=Other"),
        }

    def test_labels_of_classes_of_one_name(self, tmp_path: Path) -> None:
        for package in ("one", "two"):
            write_run(tmp_path, options={"kind": f"{package}.Kind"})
        assert {row.model for row in compare_runs([tmp_path]).rows} == {"MLP kind=one.Kind", "MLP kind=two.Kind"}

    def test_what_a_reader_has_to_know_is_always_said(self, tmp_path: Path) -> None:
        """One row a name, so that nothing differs: docs/result.md says that these are named all the same."""
        write_run(tmp_path, model="SVM", options={"max_samples": 10_000, "kernel": "poly"})
        write_run(tmp_path, model="KNN", options={"max_samples": None})
        path = "sklearn.ensemble.HistGradientBoostingClassifier"
        write_run(tmp_path, model="Sklearn", options={"estimator": path, "arguments": None})
        assert {row.model for row in compare_runs([tmp_path]).rows} == {
            *("SVM max_samples=10000", "KNN", "Sklearn HistGradientBoostingClassifier"),
        }

    def test_given_names(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        runs = [write_run(tmp_path / "runs", model="SVM", options={"max_samples": 9}, seed=seed) for seed in (0, 1)]
        long = write_run(tmp_path / "runs", model="MLP", seed=0, epochs=50)
        short = write_run(tmp_path / "runs", model="MLP", seed=0, epochs=5)
        write_run(tmp_path / "runs", model="CNN")
        other = write_run(tmp_path / "runs", model="SVM", data_options={"size": 9})
        names = {run.relative_to(tmp_path): ("digits", "SVM (9 samples)") for run in runs}
        names |= {long: ("digits", "MLP, long"), short: ("digits", "MLP"), other: ("digits", "SVM (size 9)")}
        rows = compare_runs([tmp_path / "runs"], names).rows
        assert {(row.data, row.model): len(row.runs) for row in rows} == {
            ("digits", "SVM (9 samples)"): 2,
            ("digits", "MLP, long"): 1,  # model, data and seeds are those of the other: the name alone separates
            ("digits", "MLP"): 1,
            ("digits", "SVM (size 9)"): 1,  # of other inputs, and still of the same set
            ("Digits", "CNN"): 1,
        }

    def test_models_with_their_own_data_are_not_compared(self, tmp_path: Path) -> None:
        write_run(tmp_path, model="A", data=None, test=0.5)
        write_run(tmp_path, model="B", data=None, test=0.9)
        rows = compare_runs([tmp_path]).rows
        assert [(row.data, row.best_for_flash) for row in rows] == [("data of A", True), ("data of B", True)]

    def test_a_repeat_is_no_seed(self, tmp_path: Path) -> None:
        old, new = (write_run(tmp_path, test=test) for test in (0.1, 0.9))
        os.utime(old / "result.json", ns=(1, 1))
        comparison = compare_runs([tmp_path])
        assert comparison.rows[0].runs == (new,)
        assert comparison.notes == ("left out: repeats of the model, data and seeds of a newer run (1)",)

    @pytest.mark.parametrize("seed", [None, False, True])
    def test_runs_without_a_seed_are_no_repeats(self, tmp_path: Path, seed: Any) -> None:
        for _ in range(2):
            write_run(tmp_path, seed=seed)
        assert len(only(tmp_path).runs) == 2

    def test_rows_are_sorted(self, tmp_path: Path) -> None:
        for model, data, test in (("A", "Y", 0.2), ("B", "Y", None), ("C", "Y", 0.7), ("D", "X", 0.1)):
            write_run(tmp_path, model=model, data=data, test=test)
        comparison = compare_runs([tmp_path])
        assert [row.model for row in comparison.rows] == ["D", "C", "A", "B"]
        assert {data: len(rows) for data, rows in comparison.by_data.items()} == {"X": 1, "Y": 3}


class TestValues:
    def test_costs_that_vary(self, tmp_path: Path) -> None:
        for seed, flash in enumerate((500, 300, 400)):
            write_run(tmp_path, model="Tree", seed=seed, flash_bytes=flash, macs=0, epochs=1 + seed)
        write_run(tmp_path, model="Rival", flash_bytes=450, macs=0)
        comparison = compare_runs([tmp_path])
        tree = next(row for row in comparison.rows if row.model == "Tree")
        assert tree.flash_bytes == Range(300, 500)
        assert tree.macs == Range(0, 0)
        assert not tree.best_for_flash, "the highest counts"
        assert comparison.notes == ("Tree on Digits: its runs were trained for 1 to 3 epochs",)

    def test_unknown_is_not_zero(self, tmp_path: Path) -> None:
        write_run(tmp_path, macs=None, test=None, seconds={"epoch": None, "fit": None})
        row = only(tmp_path)
        assert (row.macs, row.test_accuracy, row.fit_seconds) == (None, None, None)
        assert (row.best_for_flash, row.best_for_macs) == (False, False)

    def test_a_mean_of_some_would_mislead(self, tmp_path: Path) -> None:
        write_run(tmp_path, seed=0, test=None, macs=None)
        write_run(tmp_path, seed=1)
        comparison = compare_runs([tmp_path])
        assert comparison.rows[0].test_accuracy is None
        assert comparison.rows[0].macs is None
        assert "test accuracy is not known of 1 of 2 runs" in comparison.notes[0]

    def test_features(self, tmp_path: Path) -> None:
        folder = write_run(tmp_path)
        assert not compare_runs([tmp_path]).has_features
        row = json.loads((folder / "result.json").read_text())
        del row["preprocessing"]  # as runs had it before there were features
        (folder / "result.json").write_text(json.dumps(row))
        write_run(tmp_path, model="B", features=77)
        comparison = compare_runs([tmp_path])
        assert comparison.has_features
        assert {row.model: row.features_macs for row in comparison.rows} == {"MLP": None, "B": Range(77, 77)}

    def test_csv(self, tmp_path: Path) -> None:
        for seed, test in enumerate((0.8, 0.9)):
            write_run(tmp_path / "runs", seed=seed, test=test, flash_bytes=100 + seed, features=5)
        write_run(tmp_path / "runs", model="B, the second", ram_bytes=None, test=0.1)
        comparison = compare_runs([tmp_path / "runs"])
        save_csv(comparison, tmp_path / "a.csv")
        with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
            first, second = csv.DictReader(file)
        assert [first[key] for key in ("data", "model", "seeds", "best_for_macs")] == ["Digits", "MLP", "2", "1"]
        mean = comparison.rows[0].test_accuracy
        assert mean == Mean(float(first["test_accuracy"]), float(first["test_accuracy_ci95"]))
        assert [first[f"{name}_{end}"] for name in ("flash_bytes", "features_macs") for end in ("min", "max")] == [
            *("100", "101", "5", "5"),
        ]
        assert len(first["runs"].split(";")) == 2
        assert second["model"] == "B, the second"
        assert (second["ram_bytes_min"], second["ram_bytes_max"], second["test_accuracy_ci95"]) == ("?", "?", "")
        assert second["features_macs_min"] == ""


class TestReading:
    def test_runs_folders_and_both(self, tmp_path: Path) -> None:
        one, _ = (write_run(tmp_path, seed=seed) for seed in (0, 1))
        assert len(only(one).runs) == 1
        assert len(compare_runs([one, tmp_path, tmp_path / "." / one.name]).rows[0].runs) == 2

    def test_unfinished_runs_are_counted(self, tmp_path: Path) -> None:
        write_run(tmp_path)
        for name in ("killed", ".hidden"):
            (tmp_path / name / "checkpoints").mkdir(parents=True)
        (tmp_path / "running").mkdir()
        (tmp_path / "running" / "config.yaml").write_text("")
        (tmp_path / "pictures").mkdir()
        (tmp_path / "notes.txt").write_text("no folder")
        comparison = compare_runs([tmp_path])
        assert len(comparison.rows) == 1
        assert comparison.notes == (f"left out: 2 of 3 runs in {tmp_path}, unfinished (no result.json)",)

    def test_folders_of_folders_of_runs(self, tmp_path: Path) -> None:
        write_run(tmp_path, seed=0)
        write_run(tmp_path / "suite", seed=1)
        write_run(tmp_path / "suite" / "deeper", seed=2)
        row = only(tmp_path)
        assert sorted(run.parent.name for run in row.runs) == [*sorted([tmp_path.name, "suite"])]

    def test_what_lies_within_a_run_is_none(self, tmp_path: Path) -> None:
        write_run(write_run(tmp_path), seed=1)
        assert len(only(tmp_path).runs) == 1

    def test_folds_are_left_out(self, tmp_path: Path) -> None:
        whole = write_run(tmp_path, test=0.9)
        for fold in range(5):
            write_run(tmp_path / "MLP-Digits-5-folds", f"fold-{fold}", test=0.1, folds=5)
        comparison = compare_runs([tmp_path])
        assert [row.runs for row in comparison.rows] == [(whole,)]
        assert comparison.rows[0].test_accuracy == Mean(0.9, None)
        assert comparison.notes == (
            "left out: folds of a cross-validation (5), whose folder has its own summary (folds.json)",
        )
        with pytest.raises(UserError, match=r"nothing to compare, only folds of a cross-validation \(5\)"):
            compare_runs([tmp_path / "MLP-Digits-5-folds"])

    def test_an_unfinished_run_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "config.yaml").write_text("")
        with pytest.raises(UserError, match=r"has no result.json: its fit has not ended\. Finish it"):
            compare_runs([tmp_path])

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="there is no finished run in"):
            compare_runs([tmp_path])
        with pytest.raises(UserError, match=r"there is no folder .*nowhere; give folders of runs"):
            compare_runs([tmp_path / "nowhere"])

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": "1"}', "{}", "\xff", "[" * 10_000])
    def test_a_damaged_result_is_named(self, tmp_path: Path, text: str) -> None:
        path = write_run(tmp_path) / "result.json"
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(CorruptDataError, match=r"result\.json is damaged.*run its fit again"):
            compare_runs([tmp_path])

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"model": None}, "model is null, and must be an object"),
            ({"data": {"name": "X"}}, "data.class_path is missing"),
            ({"accuracy": {"train": 1, "val": 1}}, "accuracy.test is missing"),
            ({"accuracy": {"train": 1, "val": 1, "test": "good"}}, "accuracy.test is 'good', and must be a finite num"),
            ({"accuracy": {"train": 1, "val": 1, "test": 17}}, "accuracy.test is 17, .* from 0 to 1; restore it"),
            ({"accuracy": 0.9}, "accuracy is 0.9, and must be an object"),
            ({"macs": float("nan")}, "macs is nan, and must be a whole number from 0 to"),
            ({"macs": -1}, "macs is -1, and"),
            ({"macs": 10**400}, "macs is 1000+[.]{3}0+, and"),
            ({"params": True}, "params is True, and"),
        ],
    )
    def test_a_wrong_field_is_named(self, tmp_path: Path, fields: dict[str, Any], message: str) -> None:
        change(write_run(tmp_path), **fields)
        with pytest.raises(CorruptDataError, match=message):
            compare_runs([tmp_path])

    def test_what_we_may_not_read_is_left_out(self, tmp_path: Path) -> None:
        """A run of another user is not what breaks a table of ours."""
        ours, theirs = write_run(tmp_path, "ours"), write_run(tmp_path, "theirs", seed=1)
        for hidden in (theirs, theirs / "result.json"):
            for paths in ([tmp_path], [ours, theirs], [theirs, tmp_path]):
                with hidden_from_us(hidden):
                    comparison = compare_runs(paths)
                assert [row.runs for row in comparison.rows] == [(ours,)]
                (note,) = {*comparison.notes}
                assert re.match(r"left out: .*theirs\S* can't be read: Permission denied", note)
            with (
                hidden_from_us(hidden),
                pytest.raises(UnreadableError, match=r"theirs.*can't be read: Permission denied"),
            ):
                compare_runs([theirs])
        with hidden_from_us(tmp_path), pytest.raises(UnreadableError, match="can't be read: Permission denied"):
            compare_runs([tmp_path])

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        path = write_run(tmp_path) / "result.json"
        path.unlink()
        path.mkdir()
        with pytest.raises(UnreadableError, match=r"result\.json can't be read: it is a folder"):
            compare_runs([tmp_path])

    @pytest.mark.parametrize("depth", [25, 400, 900])
    def test_options_within_options_without_end(self, tmp_path: Path, depth: int) -> None:
        nested = json.loads('{"a":' * depth + "1" + "}" * depth)
        change(write_run(tmp_path), model={"name": "M", "class_path": "m.M", "init_args": nested})
        with pytest.raises(
            CorruptDataError, match=r"result\.json is damaged: (.* is nested deeper than 20|it is not JSON)"
        ):
            compare_runs([tmp_path])

    def test_a_result_of_the_future(self, tmp_path: Path) -> None:
        change(write_run(tmp_path), schema_version=2)
        with pytest.raises(UserError, match="has schema_version 2, and this mcubench reads 1: update mcubench"):
            compare_runs([tmp_path])


class TestReport:
    @pytest.mark.parametrize("width", [80, 100, 120, 160])
    def test_tables_fit_and_have_a_line_a_row(self, tmp_path: Path, width: int) -> None:
        estimators = ("ensemble.HistGradientBoostingClassifier", "discriminant_analysis.LinearDiscriminantAnalysis")
        for data, features in (("MNIST", None), ("HAPT", 78_284)):
            for index in range(12):
                for seed in range(2):
                    cost = {"macs": 2_949_120 * index, "flash_bytes": 60_000 * 2**index, "ram_bytes": 31_360}
                    write_run(tmp_path, f"{data}{index}{seed}", f"Model{index}", data, seed=seed, test=0.9 + seed / 100,
                              features=features, **cost)  # fmt: skip
            for estimator in estimators:
                write_run(tmp_path, model="Sklearn", data=data, options={"estimator": f"sklearn.{estimator}"})
        printed = io.StringIO()
        print_comparison(compare_runs([tmp_path]), Console(file=printed, width=width))
        tables, _, remarks = printed.getvalue().partition("*: on the Pareto front")
        lines = tables.splitlines()
        assert max(map(len, lines)) <= width
        headings = [re.split(r"\s{2,}", line.strip()) for line in lines if line.lstrip().startswith("model")]
        assert headings[0] == headings[1]
        assert {"model", "test [%]", "MACs", "flash [B]"} <= set(headings[0])
        left_out = re.findall("no room for (.*?):", remarks)
        assert sorted([*headings[0], *(left_out[0].split(", ") if left_out else [])]) == sorted(
            ["model", "seeds", "bits", "test [%]", "val [%]", "F1 [%]", "float [%]", "MACs", "flash [B]", "RAM [B]",
             "params", "fit [s]", "features MACs"]
        )  # fmt: skip
        for index in range(12):
            assert len([line for line in lines if f" Model{index} " in line and "90.50 ±6.35" in line]) == 2
        assert tables.count("HistGradientBoostingClassifier") == tables.count("LinearDiscriminantAnalysis") == 2

    def test_everything_to_a_stem(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        runs = [write_run(tmp_path / "runs", model="SVM", options={"max_samples": 9}, seed=seed) for seed in (0, 1)]
        printed = io.StringIO()
        comparison = compare_runs(runs, dict.fromkeys(runs, ("digits", "SVM (9 samples)")))
        report_comparison(comparison, "out/suite-1.2", Console(file=printed, width=100))
        assert {path.name for path in Path("out").iterdir()} == {f"suite-1.2.{form}" for form in FORMS}
        for form in ("csv", "md", "svg"):
            assert "SVM (9 samples)" in Path(f"out/suite-1.2.{form}").read_text("utf-8")
        assert "SVM (9 samples)" in printed.getvalue()
        assert "wrote out/suite-1.2.png and out/suite-1.2.svg" in printed.getvalue()


class TestPlot:
    @staticmethod
    def rows(root: Path, models: int) -> list[Row]:
        """Rows close to each other, as models are; the first costs no MACs."""
        for index in range(models):
            for seed in range(2):
                cost = {"macs": 0 if index == 0 else 900 * 2**index, "flash_bytes": 1000 + 300 * index + 50 * seed}
                write_run(root, model=f"Model${index}_x", seed=seed, test=0.9 + 0.005 * index + 0.001 * seed, **cost)
        return list(compare_runs([root]).rows)

    def test_of_very_many_rows_those_on_the_fronts_are_named(self, tmp_path: Path) -> None:
        """Cost and time of naming them all grow with their square."""
        rows = self.rows(tmp_path / "runs", 2)
        many = [replace(rows[0], model=f"M{index}", best_for_flash=False, best_for_macs=False) for index in range(998)]
        target = tmp_path / "many.svg"
        plot_pareto("Digits", [*many, *rows], [target])
        texts = ["".join(each.itertext()) for each in ET.parse(target).iter("{http://www.w3.org/2000/svg}text")]
        named = [text for text in texts if re.fullmatch(r"\d+  .*", text)]
        assert len(named) == 40
        assert {f"999  {rows[0].model}", f"1000  {rows[1].model}", "1  M0"} <= set(named)
        assert "960 others, named in the table" in texts

    def test_both_forms(self, tmp_path: Path) -> None:
        rows = self.rows(tmp_path / "runs", 4)
        targets = [tmp_path / "out" / name for name in ("a.png", "a.svg", "b.svg")]
        plot_pareto("Digits", rows, targets)
        assert targets[0].read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        assert targets[1].read_bytes() == targets[2].read_bytes()
        texts = ["".join(each.itertext()) for each in ET.parse(targets[1]).iter("{http://www.w3.org/2000/svg}text")]
        for number, row in enumerate(rows, 1):
            assert f"{number}  {row.model}" in texts
            assert texts.count(str(number)) >= 2, "one a side"
        assert "flash [B], logarithmic" in texts
        assert "MACs, logarithmic; linear from 0 to 1,000 (grey)" in texts
        assert "Digits: what accuracy costs" in texts
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "a.svg", "b.svg"]

    @staticmethod
    def numbers(figure: Figure) -> Iterator[list[Annotation]]:
        """The numbers of each side, after checking by matplotlib's own extents that they are legible."""
        figure.draw_without_rendering()  # only then matplotlib knows
        for axes in figure.axes:
            frame = axes.get_window_extent()
            found = [text for text in axes.texts if isinstance(text, Annotation)]
            boxes = [MplText.get_window_extent(number) for number in found]
            points = [axes.transData.transform(number.xy) for number in found]
            assert all(frame.contains(*point) for point in points)
            assert all(frame.containsx(x) and frame.containsy(y) for box in boxes for x, y in box.corners())
            assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
            assert not any(box.contains(*point) for box in boxes for point in points)
            yield found

    @pytest.mark.parametrize("models", [3, 20])
    def test_what_costs_nothing_is_seen_and_numbers_are_apart(self, tmp_path: Path, models: int) -> None:
        sides = list(self.numbers(_draw("Digits", self.rows(tmp_path, models))))
        for side in sides:
            assert sorted(int(number.get_text()) for number in side) == list(range(1, models + 1))
        assert [number.xy[0] for number in sides[1]].count(0) == 1

    def test_a_crowd_in_a_corner(self, tmp_path: Path) -> None:
        for index in range(16):
            write_run(tmp_path, model=f"Model{index}", test=0.9, flash_bytes=1_000_000, macs=1_000_000)
        write_run(tmp_path, model="Small", test=0.5, flash_bytes=100, macs=100)
        assert [len(side) for side in self.numbers(_draw("Digits", compare_runs([tmp_path]).rows))] == [17, 17]

    def test_the_picture_ends_where_accuracy_does(self, tmp_path: Path) -> None:
        """Two seeds: t = 12.7 makes the interval wider than the scale."""
        for seed, test in enumerate((0.9, 0.99)):
            write_run(tmp_path, seed=seed, test=test)
        low, high = _draw("Digits", compare_runs([tmp_path]).rows).axes[0].get_ylim()
        assert 94.5 - 12.7062 * 4.5 > low > 0
        assert 100 < high < 103

    def test_one_side_may_be_unknown(self, tmp_path: Path) -> None:
        write_run(tmp_path, macs=None)
        figure = _draw("Digits", compare_runs([tmp_path]).rows)
        assert [text.get_text() for text in figure.axes[1].texts] == ["not known"]

    def test_only_zeros(self, tmp_path: Path) -> None:
        write_run(tmp_path, macs=0)
        axes = _draw("Digits", compare_runs([tmp_path]).rows).axes[1]
        assert axes.get_xlabel() == "MACs, logarithmic; linear from 0 to 1 (grey)"
        assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1"]

    def test_nothing_to_draw(self, tmp_path: Path) -> None:
        write_run(tmp_path, test=None)
        assert not can_be_drawn(compare_runs([tmp_path]).rows)
        write_run(tmp_path, model="Other", macs=None)
        assert can_be_drawn(compare_runs([tmp_path]).rows)
