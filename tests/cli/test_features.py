"""HAPT's features from the command line, on the real recordings; the prices are those of `feature_cost`."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from mcubench.cli.main import main
from mcubench.features import feature_cost, select
from tests.cli.test_fit import fit, result
from tests.cli.test_main import failure

pytestmark = pytest.mark.real_data

FEATURES = ["--data", "HAPT", "--data.inputs", "features"]


@pytest.fixture(autouse=True)
def _data(workplace: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUBENCH_DATA", str(real_data))


def test_a_fit_says_which_features_and_what_they_cost(capsys: pytest.CaptureFixture[str]) -> None:
    row = result(fit(*FEATURES, "--data.k_best", "12", "--trainer.max_steps", "300"))
    names = row["inputs"]["features"]
    assert len(names) == 12
    assert row["inputs"]["shape"] == [12]
    assert row["inputs"]["source"] == "recomputed"
    assert row["inputs"]["scaling"]["fitted_on"] == "train"
    cost = feature_cost(select(names))
    assert row["preprocessing"]["operations"] == asdict(cost.operations)
    assert row["preprocessing"]["ram_bytes"] == cost.memory.total
    assert row["macs"] == 12 * 42 + 42 * 12, "the model's alone"
    printed = " ".join(capsys.readouterr().out.split())
    assert "12 recomputed; scaled by the ranges of train" in printed
    assert f"{cost.operations.macs:,} MACs and {cost.operations.other:,} other operations a window" in printed
    assert "--data.inputs features --data.k_best 12 --data.split random" in printed


def test_published_scaling_is_said_to_leak(capsys: pytest.CaptureFixture[str]) -> None:
    row = result(fit(*FEATURES, "--data.scaling", "published", "--trainer.max_steps", "300"))
    assert row["inputs"]["scaling"]["fitted_on"] == "train and test"
    assert row["accuracy"]["test"] > 0.85
    printed = " ".join(capsys.readouterr().out.split())
    assert "21 of them copies of others; scaled by the ranges of train and test, which leaks" in printed


def test_profile_adds_the_features(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data.features", "tGravityAcc-mean,tBodyAccMag", "--json", "all.json"]
    assert main(["profile", "--model", "MLP", *FEATURES, *options]) == 0
    printed = capsys.readouterr().out
    cost = feature_cost(select(["tGravityAcc-mean", "tBodyAccMag"]))
    assert f"features: {cost.operations.macs:,} MACs and {cost.operations.other:,} other operations" in printed
    assert f"beside the model's {16 * 42 + 42 * 12:,} MACs" in printed
    assert "1 of the features are copies of others: tBodyAccMag-sma of tBodyAccMag-mean" in printed
    for stage in cost.stages:
        assert re.search(rf"^ {re.escape(stage.name)} ", printed, re.MULTILINE), stage.name
    assert not re.search(r"^ spectra ", printed, re.MULTILINE), "nothing that no chosen feature needs"
    written = json.loads(Path("all.json").read_text())
    assert written["preprocessing"] == cost.as_dict()
    assert written["macs"] == 16 * 42 + 42 * 12


def test_profile_of_raw_windows_has_no_features() -> None:
    assert main(["profile", "--model", "CNN1d", "--data", "HAPT", "--json", "raw.json"]) == 0
    assert json.loads(Path("raw.json").read_text())["preprocessing"] is None


def test_a_run_is_tested_on_its_own_features(capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit(*FEATURES, "--data.k_best", "12", "--trainer.max_epochs", "1")
    assert main(["test", "--ckpt_path", str(folder)]) == 0
    logged = re.search(r"test/accuracy\D+([0-9.]+)", capsys.readouterr().out)
    assert logged is not None
    assert float(logged[1]) == pytest.approx(result(folder)["accuracy"]["test"], abs=1e-6)
    assert main(["profile", "--ckpt_path", str(folder), "--json", "run.json"]) == 0
    assert json.loads(Path("run.json").read_text())["preprocessing"] == result(folder)["preprocessing"]
    capsys.readouterr()
    # Another split chooses other features: the same model would be fed with what it has never seen.
    said = failure(capsys, "test", "--ckpt_path", str(folder), "--data.split_seed", "3")
    assert "was trained on 12 features (" in said
    assert "here are 12 features (" in said
    # Other ranges give the same features other values.
    said = failure(capsys, "test", "--ckpt_path", str(folder), "--data.scaling", "published")
    assert "but scaled by other constants: give --data.inputs" in said
    said = failure(capsys, "fit", "--ckpt_path", str(folder), "--data.scaling", "published")
    assert "can't go on with other options: --data.scaling is" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.features", "[tBodyAcc-meen]"], "Did you mean 'tBodyAcc-mean'"),
        (["--data.k_best", "600"], "k_best must be 1 to 540"),
        (["--model", "CNN1d"], "for features MLP"),
    ],
)
def test_mistakes_are_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in failure(capsys, "fit", *FEATURES, *options)
