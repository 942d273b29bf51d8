"""A classical model is scored at the bits that it is priced at: which form is chosen, and that all places follow."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score
from sklearn.naive_bayes import MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from mcubench.baselines import KNN, DecisionTree
from mcubench.baselines.forms import choose_form
from mcubench.baselines.rounded import FORMS, round_estimator
from mcubench.cli.main import main
from mcubench.cost import BitWidths, profile
from mcubench.datamodules.base import Part
from mcubench.errors import UserError
from tests.baselines.cases import digits, failure

QUIET = ("--trainer.enable_progress_bar", "false")
Array = NDArray[Any]


def spread(count: int, seed: int) -> tuple[Array, Array]:
    """Two classes 1 / 2000 apart, which 8 bits can't tell from each other and 16 can; a second feature from 0 to 1."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 2
    x = np.stack([0.4 + y / 2000 + rng.uniform(0, 1e-4, count), rng.uniform(0, 1, count)], axis=1)
    x[0, 1], x[1, 1] = 0, 1
    return x.astype(np.float32), y


def flat(part: Part) -> tuple[Array, Array]:
    """A part of Digits, flattened."""
    x, y = digits(part)
    return x.reshape(len(x), -1), y


def tree(x: Array, y: Array) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(random_state=0).fit(x, y)


class TestChoice:
    def test_the_narrowest_that_loses_nothing(self) -> None:
        x, y = flat("train")
        nearest = KNeighborsClassifier(3).fit(x, y)
        chosen = choose_form(nearest, lambda _: pytest.fail("fitted again"), None, x, flat("val"))
        assert chosen.rounded.form == "int8"
        assert chosen.note == ""

    def test_wider_where_8_bits_lose(self) -> None:
        x, y = spread(200, 0)
        chosen = choose_form(tree(x, y), lambda rounded: tree(rounded, y), None, x, spread(200, 1))
        assert chosen.rounded.form == "int16"
        assert chosen.note == "scored in int16: what is narrower loses more than 0.1 points of validation accuracy"

    def test_fitted_on_rounded_inputs_where_that_is_better(self) -> None:
        """A feature that is finer than 8 bits misleads a tree that is then rounded; a coarse one says the same."""
        rng = np.random.default_rng(0)
        y = np.arange(400) % 2
        fine, coarse = 0.501 + (2 * y - 1) * 1e-4, np.where(rng.uniform(size=400) < 0.95, y, 1 - y)
        x = np.stack([fine, coarse], axis=1).astype(np.float32)
        fits: list[Array] = []

        def fit(rounded: Array) -> DecisionTreeClassifier:
            fits.append(rounded)
            return tree(rounded, y[:200])

        held = x[200:], y[200:]
        chosen = choose_form(tree(x[:200], y[:200]), fit, "int8", x[:200], held)
        assert len(np.unique(fits[0][:, 0])) == 1, "on 8 bits the fine feature is gone"
        found = accuracy_score(held[1], chosen.rounded.predict(held[0]))
        assert found == accuracy_score(held[1], held[0][:, 1].astype(int)), "all that the coarse one says"
        assert "fitted on inputs of 8 bits" in chosen.note
        assert "int8 loses" in chosen.note

    def test_asked_for_it_is_taken_and_its_loss_is_said(self) -> None:
        x, y = spread(200, 0)
        chosen = choose_form(tree(x, y), lambda rounded: tree(rounded, y), "int8", x, spread(200, 1))
        assert chosen.rounded.form == "int8"
        assert "int8 loses" in chosen.note
        assert "(--model.bits takes int8, int16 or float32)" in chosen.note

    def test_float_without_validation(self) -> None:
        x, y = spread(20, 0)
        chosen = choose_form(tree(x, y), lambda _: pytest.fail("fitted again"), None, x, None)
        assert chosen.rounded.form == "float32"
        assert "there is no validation part" in chosen.note
        assert choose_form(tree(x, y), lambda _: pytest.fail("fitted again"), "int8", x, None).rounded.form == "int8"

    def test_float_for_what_has_no_arithmetic_in_integers(self) -> None:
        x, y = spread(40, 0)
        nearest = KNeighborsClassifier(3, metric="manhattan").fit(x, y)
        chosen = choose_form(nearest, lambda _: pytest.fail("fitted again"), None, x, (x, y))
        assert chosen.rounded.form == "float32"
        assert chosen.note == "scored in float32: there is no formula for the metric 'manhattan'"
        assert np.array_equal(chosen.rounded.predict(x), nearest.predict(x))
        with pytest.raises(UserError, match="can't be computed in int8: there is no formula"):
            choose_form(nearest, lambda _: pytest.fail("fitted again"), "int8", x, (x, y))

    def test_float_for_numbers_that_no_integer_holds(self) -> None:
        """Without smoothing, what a class never had has probability 0, whose logarithm is minus infinity."""
        x, y = np.array([[1, 0], [2, 0], [0, 3], [0, 4]], np.float32), np.array([0, 0, 1, 1])
        with np.errstate(divide="ignore", invalid="ignore"):
            bayes = MultinomialNB(alpha=0, force_alpha=True).fit(x, y)
            chosen = choose_form(bayes, lambda _: pytest.fail("fitted again"), None, x, (x, y))
            assert chosen.rounded.form == "float32"
            with pytest.raises(
                UserError, match="MultinomialNB can't be computed in int16: MultinomialNB is not finite"
            ):
                choose_form(bayes, lambda _: pytest.fail("fitted again"), "int16", x, (x, y))


class TestModule:
    def test_its_price_is_at_the_widths_of_its_score(self) -> None:
        prices = {}
        for form, widths in FORMS.items():
            module = DecisionTree(input_shape=(1, 8, 8), num_classes=10, bits=form, seed=0)
            assert module.widths is None
            module.fit(*digits())
            assert module.widths == widths
            report = profile(module, module.example_input_array)
            assert report.widths == widths
            prices[form] = report.flash_bytes
            splits = module.estimator.tree_.node_count // 2
            assert prices[form] - prices["int8"] == splits * (widths.weight // 8 - 1), "a threshold a split"
        asked = profile(module, module.example_input_array, BitWidths(8, 8))
        assert asked.flash_bytes == prices["int8"], "other widths can be asked for"

    def test_neighbours_of_16_bits_need_wide_sums(self) -> None:
        """Squares of 32 bits are summed up: k sums of 8 bytes, each with a label; 2 bytes a value, a byte a vote."""
        module = KNN(input_shape=(1, 8, 8), num_classes=10, bits="int16")
        module.fit(*digits())
        assert profile(module, module.example_input_array).memory.lower_bound == 64 * 2 + 5 * (8 + 1) + 10

    def test_it_is_saved_as_it_was_chosen(self) -> None:
        x, y = spread(200, 0)
        module = DecisionTree(input_shape=(2,), num_classes=2, seed=0)
        module.fit(x, y, validation=spread(200, 1))
        assert module.rounded is not None
        assert module.rounded.form == "int16"
        again = DecisionTree(input_shape=(2,), num_classes=2)
        again.load_state_dict(module.state_dict())
        assert again.rounded is not None
        assert (again.rounded.form, again.rounded.grids) == (module.rounded.form, module.rounded.grids)
        assert again.fit_notes == module.fit_notes
        asked = spread(500, 2)[0]
        assert torch.equal(again(torch.tensor(asked)), module(torch.tensor(asked)))

    @pytest.mark.parametrize(
        ("damage", "says"),
        [
            ({"form": "int4"}, "it can't be computed as 'int4'"),
            ({"grids": [[1.0, 0]]}, "it can't be computed as 'int16'"),
            ({"grids": "none"}, "its grids are no pairs of scale and zero point"),
            ({"grids": [[0.0, 0], None]}, "its grids are no pairs of scale and zero point"),
        ],
        ids=str,
    )
    def test_a_damaged_form_is_one_line(self, damage: dict[str, Any], says: str) -> None:
        x, y = spread(40, 0)
        module = DecisionTree(input_shape=(2,), num_classes=2, bits="int16")
        module.fit(x, y)
        state = module.get_extra_state() | damage
        with pytest.raises(UserError, match=f"the saved estimator is damaged: {says}"):
            module.set_extra_state(state)

    def test_what_an_older_version_saved_is_scored_in_float(self) -> None:
        x, y = spread(40, 0)
        module = DecisionTree(input_shape=(2,), num_classes=2, bits="int8")
        module.fit(x, y)
        old = {key: module.get_extra_state()[key] for key in ("estimator", "fitted_on")}
        module.set_extra_state(old)
        assert module.rounded is not None
        assert module.rounded.form == "float32"
        assert np.array_equal(module(torch.tensor(x)).argmax(1), module.estimator.predict(x))

    def test_other_bits_are_refused(self) -> None:
        with pytest.raises(UserError, match="bits must be one of int8, int16, float32; got 'int4'"):
            DecisionTree(input_shape=(2,), num_classes=2, bits="int4")  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in 8 bits on Digits, whose rounded and exact classes differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("forms"))
        args = ["--model", "DecisionTree", "--model.bits", "int8", "--data", "Digits", "--data.size", "8"]
        assert main(["fit", *args, *QUIET]) == 0
        (folder,) = Path("runs").resolve().iterdir()
    return folder


@pytest.fixture
def row(run: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(run.parents[1])
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def reference(form: str, part: Part) -> float:
    """Accuracy of a tree that never went through a Trainer: the one fitted on rounded inputs, if it is better."""
    (x, y), (asked, truth), held = flat("train"), flat(part), flat("val")
    exact = tree(x, y)
    if form == "float":
        return float(accuracy_score(truth, exact.predict(asked)))
    once = round_estimator(exact, "int8", x)
    again = round_estimator(tree(once.round_inputs(x), y), "int8", x)
    scores = [float(accuracy_score(held[1], each.predict(held[0]))) for each in (exact, once, again)]
    assert scores[0] - scores[1] > 0.001, "else nothing is fitted again"
    return float(accuracy_score(truth, (again if scores[2] > scores[1] else once).predict(asked)))


class TestRun:
    def test_result_has_both_forms(self, row: dict[str, Any]) -> None:
        assert row["form"] == "8-bit"
        assert row["bits"] == {"weight": 8, "activation": 8}
        assert row["other_form"]["form"] == "float"
        for part in ("val", "test"):
            assert row["accuracy"][part] == pytest.approx(reference("int8", part), abs=1e-12)
            assert row["other_form"]["accuracy"][part] == pytest.approx(reference("float", part), abs=1e-12)

    def test_compare_has_both(self, run: Path, row: dict[str, Any], tmp_path: Path) -> None:
        assert main(["compare", str(run), "--csv", str(tmp_path / "rows.csv")]) == 0
        (found,) = csv.DictReader((tmp_path / "rows.csv").open())
        assert found["form"] == "8-bit"
        assert float(found["test_accuracy"]) == row["accuracy"]["test"]
        assert float(found["float_test_accuracy"]) == row["other_form"]["accuracy"]["test"]

    def test_quantize_measures_every_form(
        self, run: Path, row: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["quantize", "--ckpt_path", "best", "--json", str(tmp_path / "forms.json")]) == 0
        forms = {each["form"]: each for each in json.loads((tmp_path / "forms.json").read_text())["forms"]}
        assert list(forms) == ["float", *FORMS]
        assert forms["int8"]["accuracy"] == pytest.approx(row["accuracy"]["test"])
        assert forms["float"]["accuracy"] == pytest.approx(row["other_form"]["accuracy"]["test"])
        assert (forms["int8"]["flash_bytes"], forms["int8"]["ram_bytes"]) == (row["flash_bytes"], row["ram_bytes"])
        assert [name for name, each in forms.items() if each["scored"]] == ["int8"]
        assert "int8 *" in capsys.readouterr().out

    @pytest.mark.usefixtures("row")
    def test_options_for_networks_are_refused(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = failure(capsys, "quantize", "--ckpt_path", "best", "--weight_bits", "4")
        assert "--weight_bits is for networks: DecisionTree is measured in int8, int16, float32" in line

    def test_the_table_says_both(self, run: Path, row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["fit", "--ckpt_path", str(run), *QUIET]) == 0
        printed = capsys.readouterr().out
        assert f"accuracy, 8-bit │ {100 * row['accuracy']['train']:.2f} %" in printed
        assert "accuracy, float" in printed
