"""Mean, spread and pooled accuracy of folds, against numpy, counts by hand and `statistics`."""

from __future__ import annotations

import io
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mcubench.errors import UserError
from mcubench.results.cross_validation import CrossValidation, FoldScores, Spread
from mcubench.results.folds_table import fold_line, print_folds
from mcubench.results.plots import plot_folds
from mcubench.results.remarks import Remarks


def row(fold: int, right: int | None, samples: int | None, subjects: list[int] | None = None) -> FoldScores:
    accuracy = None if right is None else right / (samples or 1)
    return FoldScores(fold, f"fold-{fold}", subjects, samples, accuracy, 0.5, 0.25, 0.75, 1, 2.0, None)


def of(*rows: FoldScores, kind: str = "stratified") -> CrossValidation:
    return CrossValidation("M", "D", {"kind": kind, "seed": 0}, 0, ["python"], rows, [])


UNEQUAL = of(row(0, 9, 10), row(1, 10, 20), row(2, 7, 10))


def printed(result: CrossValidation) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    print_folds(result, Path("here"), console)
    return console.export_text()


def test_mean_and_spread_by_hand_and_by_numpy() -> None:
    # 0.9, 0.5, 0.7: mean 0.7, squares of 0.2, 0.2 and 0 over 3 - 1
    assert UNEQUAL.spread("val_accuracy") == Spread(*(pytest.approx(value) for value in (0.7, 0.2, 0.5, 0.9)))
    values = np.random.default_rng(0).random(21)
    spread = of(*(row(fold, value, 1) for fold, value in enumerate(values))).spread("val_accuracy")
    assert spread is not None
    assert spread.mean == pytest.approx(values.mean())
    assert spread.std == pytest.approx(values.std(ddof=1)) == pytest.approx(statistics.stdev(values))
    assert spread.std != pytest.approx(values.std()), "n - 1, not n"


def test_pooled_accuracy_counts_each_sample_once() -> None:
    assert UNEQUAL.pooled_accuracy == 26 / 40  # and not the mean of the folds, 0.7
    # Each fold's share is rounded; a third of 3, 7 thirds of 21 and so on must still add up to whole samples.
    thirds = of(*(row(fold, size // 3, size) for fold, size in enumerate((3, 21, 99, 300))))
    assert thirds.pooled_accuracy == 141 / 423


def test_what_is_not_known_of_one_fold_is_not_known_of_all() -> None:
    result = of(row(0, 9, 10), row(1, None, 10))
    assert result.spread("val_accuracy") is None
    assert result.pooled_accuracy is None
    assert result.spread("test_accuracy") == Spread(0.25, 0.0, 0.25, 0.25)
    assert "?" in printed(result)
    assert of(row(0, 1, None), row(1, 1, None)).pooled_accuracy is None


def test_the_file_is_what_was_summed_up(tmp_path: Path) -> None:
    found = json.loads(UNEQUAL.save(tmp_path).read_text())
    assert [each["val_accuracy"] for each in found["folds"]] == [0.9, 0.5, 0.7]
    assert found["spread"]["val_accuracy"]["std"] == pytest.approx(0.2)
    assert found["pooled_accuracy"] == 26 / 40
    assert [path.name for path in tmp_path.iterdir()] == ["folds.json"]


def test_the_table_says_what_the_spread_is_not() -> None:
    text = " ".join(printed(UNEQUAL).split())
    for part in ("90.00 %", "50.00 %", "70.00 %", "20.00 pt", "65.00 % of 40 samples", "Bengio and Grandvalet"):
        assert part in text
    assert "no confidence interval" in text
    assert "flattered" not in text
    assert "±" not in text


def test_an_epoch_chosen_by_validation_flatters_it_and_is_said() -> None:
    rows = [FoldScores(fold, "", None, 4, 0.5, 0.5, 0.5, 0.5, 7, 1.0, "val/accuracy") for fold in range(2)]
    assert "best epoch by val/accuracy" in printed(of(*rows))


def test_leave_one_out_speaks_of_subjects() -> None:
    alone = of(row(0, 1, 2, [5]), row(1, 1, 2, [3]), kind="subject")
    groups = of(row(0, 1, 2, [5, 4]), row(1, 1, 2, [3]), kind="subject")
    assert "from subject to subject" in printed(alone)
    assert "from fold to fold" in printed(groups)
    assert "5, 4" in printed(groups)
    assert fold_line(alone.folds[1], 2).startswith("fold 1, 2 of 2 (subject 3): validation accuracy 50.00 %")


def test_a_fold_without_a_result_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"left no result\.json"):
        FoldScores.read(tmp_path, 0)


def test_remarks_are_told_once_each() -> None:
    remarks = Remarks("fold")
    remarks.add(0, "a class has\n no sample", "no sample")
    remarks.add(3, "another class has no sample", "no sample")
    remarks.add(3, "another class has no sample", "no sample")
    remarks.add(2, "it did not converge")
    assert remarks.told() == [
        "fold 0: a class has no sample (likewise in 3)",
        "fold 2: it did not converge",
    ]


def test_remarks_do_not_depend_on_which_run_ends_first() -> None:
    each = {
        0: [("empty class b", "empty"), ("slow", None)],
        1: [("slow", None)],
        2: [("slow", None), ("empty c", "empty")],
    }
    told = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        remarks = Remarks("fold")
        for run in order:
            for text, kind in each[run]:
                remarks.add(run, text, kind)
        told.append(remarks.told())
    assert told == [["fold 0: empty class b (likewise in 2)", "fold 0: slow (likewise in 1, 2)"]] * 3


def test_the_picture_has_a_dot_a_fold_and_leaves_out_what_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []
    monkeypatch.setattr("mcubench.results.plots._save", lambda figure, target: figures.append(figure))
    plot_folds(of(row(0, 9, 10, [3]), row(1, None, 10, [8]), row(2, 2, 10, [5]), kind="subject"), tmp_path / "x.png")
    (axes,) = figures[0].axes
    accuracy, macro_f1 = (collection.get_offsets().data.tolist() for collection in axes.collections)
    assert [(math.floor(x + 0.5), y) for x, y in accuracy] == [(20, 1), (90, 2)]
    assert len(macro_f1) == 3
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "5", "3"]
