"""Verbs run in this process on the embedded digits: what they leave behind and what it says."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from mcubench.cli.main import main
from mcubench.cost import BitWidths
from mcubench.datamodules import Digits
from mcubench.models import MLP
from mcubench.quant.training import FakeQuantizer, Phase, find_qat_state, make_plan
from tests.trained import drawing

FILES = {"config.yaml", "metrics.csv", "result.json", "curves.png", "confusion.png", "checkpoints"}


def fit(*args: str, root: str = "runs") -> Path:
    """Runs fit and returns the newest run's folder."""
    assert main(["fit", "--trainer.default_root_dir", root, *args]) == 0
    return max(Path(root).iterdir(), key=lambda path: (path / "result.json").stat().st_mtime)


def result(folder: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return row


@pytest.fixture(scope="module")
def default_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("default"))
        with drawing():
            return fit("--trainer.max_epochs", "3").resolve()


def test_the_run_folder(default_run: Path) -> None:
    assert {path.name for path in default_run.iterdir()} == FILES
    for plot in ("curves.png", "confusion.png"):
        assert (default_run / plot).stat().st_size > 1000, "not a picture of nothing"
    assert {path.name for path in (default_run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_scores_are_of_the_best_checkpoint_counted_anew(default_run: Path) -> None:
    row = result(default_run)
    model = MLP.load_from_checkpoint(default_run / "checkpoints" / "best.ckpt", weights_only=True).eval()
    data = Digits()
    for part in ("train", "val", "test"):
        x, y = data.arrays(part)  # type: ignore[arg-type]
        right = model(torch.tensor(x)).argmax(1).numpy() == y
        assert row["accuracy"][part] == pytest.approx(right.mean())
    rows = list(csv.DictReader((default_run / "metrics.csv").open()))
    best = max(float(each["val/accuracy"]) for each in rows)
    assert row["accuracy"]["val"] == pytest.approx(best)
    assert row["checkpoint"]["value"] == pytest.approx(best)
    assert float(rows[row["checkpoint"]["epoch"] - 1]["val/accuracy"]) == best


def test_the_result_row(default_run: Path) -> None:
    row = result(default_run)
    assert row["schema_version"] == 1
    assert row["params"] == 33_400
    assert row["epochs"] == 3
    assert row["steps"] == 3 * 36
    assert row["seed"] == 0
    assert row["model"]["init_args"]["input_shape"] == [1, 28, 28]
    assert row["split"]["sizes"] == {"train": 1149, "val": 288, "test": 360}
    assert len(row["inputs"]["scaling"]["mean"]) == 1
    assert row["notes"] == []


def test_the_config_repeats_the_run(default_run: Path, workplace: Path) -> None:
    again = fit("--config", str(default_run / "config.yaml"))
    assert result(again)["accuracy"] == result(default_run)["accuracy"]
    assert result(again)["logged"] == result(default_run)["logged"]


def test_another_seed_is_another_run(default_run: Path, workplace: Path) -> None:
    other = fit("--trainer.max_epochs", "3", "--seed_everything", "1")
    assert result(other)["seed"] == 1
    assert result(other)["logged"] != result(default_run)["logged"]


def test_the_table(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = result(fit("--trainer.max_epochs", "1"))
    out = capsys.readouterr().out
    for part in ("train", "val", "test"):
        assert f"{100 * row['accuracy'][part]:.2f} %" in out
        assert f"{100 * row['macro_f1'][part]:.2f} %" in out
    gap = 100 * (row["accuracy"]["val"] - row["accuracy"]["test"])
    for text in ("33,400", f"{gap:+.2f} points", "s per epoch", "s in all", "best.ckpt", "saved in", "Try next"):
        assert text in out


def test_measuring_verbs_agree_with_the_result(
    default_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(default_run.parents[1])
    row = result(default_run)
    before = {path.name for path in default_run.iterdir()}
    for verb, part in (("validate", "val"), ("test", "test")):
        assert main([verb, "--ckpt_path", "best"]) == 0
        printed = re.search(rf"{part}/accuracy\W+([\d.]+)", capsys.readouterr().out)
        assert printed is not None
        assert float(printed[1]) == pytest.approx(row["accuracy"][part], abs=1e-6)
    assert {path.name for path in default_run.iterdir()} == before
    assert main(["predict", "--ckpt_path", "best"]) == 0
    predictions = list(csv.DictReader((default_run / "predictions.csv").open()))
    (default_run / "predictions.csv").unlink()
    predicted = np.array([int(each["class"]) for each in predictions])
    assert (predicted == Digits().arrays("test")[1]).mean() == pytest.approx(row["accuracy"]["test"])


def test_resume_takes_the_options_of_the_run(workplace: Path) -> None:
    first = fit(
        "--model", "DSCNN", "--model.channels", "4", "--model.schedule", "constant", "--trainer.max_epochs", "1"
    )
    again = fit("--ckpt_path", "last", "--trainer.max_epochs", "3")
    assert again == first, "it goes on in its folder"
    row = result(again)
    assert row["model"]["name"] == "DSCNN"
    assert row["model"]["init_args"]["channels"] == 4
    assert row["epochs"] == 3
    rows = list(csv.DictReader((again / "metrics.csv").open()))
    assert [each["epoch"] for each in rows] == ["0", "1", "2"]
    config = yaml.safe_load((again / "config.yaml").read_text())
    assert config["trainer"]["max_epochs"] == 3
    assert config["ckpt_path"] is None


def test_nothing_left_to_train_is_said(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = fit("--trainer.max_epochs", "1")
    scores = result(first)["accuracy"]
    again = fit("--ckpt_path", "last")
    assert "nothing was left to train after 1 epochs" in capsys.readouterr().out
    assert result(again)["accuracy"] == scores


def test_another_model_does_not_fit_a_checkpoint(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit("--trainer.max_epochs", "1")
    assert main(["test", "--ckpt_path", "last", "--model", "CNN"]) == 2
    assert "does not fit this model" in capsys.readouterr().err


def test_foreign_module_on_our_data(workplace: Path) -> None:
    (workplace / "my_file.py").write_text(
        "import lightning, torch\n"
        "class MyNet(lightning.LightningModule):\n"
        "    def __init__(self, rate: float = 0.5):\n"
        "        super().__init__()\n"
        "        self.layer, self.rate = torch.nn.Linear(64, 10), rate\n"
        "    def forward(self, x):\n"
        "        return self.layer(x.flatten(1))\n"
        "    def training_step(self, batch, batch_idx):\n"
        "        return torch.nn.functional.cross_entropy(self(batch[0]), batch[1])\n"
        "    def configure_optimizers(self):\n"
        "        return torch.optim.SGD(self.parameters(), self.rate)\n"
    )
    row = result(
        fit("--model", "my_file.MyNet", "--model.rate", "0.1", "--data.size", "8", "--trainer.max_epochs", "2")
    )
    assert row["model"] == {"name": "MyNet", "class_path": "my_file.MyNet", "init_args": {"rate": 0.1}}
    assert row["checkpoint"] == {"path": "checkpoints/last.ckpt"}
    assert row["accuracy"]["test"] > 0.8


def test_foreign_module_and_data(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "tests.foreign.MyNet", "--data", "tests.foreign.MyData", "--trainer.max_epochs", "4"]
    row = result(fit(*options, "--checkpoint.monitor", "my_val_loss", "--checkpoint.mode", "min"))
    assert row["accuracy"]["val"] > 0.8
    assert row["accuracy"]["test"] is None
    assert row["notes"] == ["test accuracy and macro-F1 are not known: MyData has no test_dataloader"]
    assert row["checkpoint"]["monitor"] == "my_val_loss"
    assert row["split"] is None
    assert "?" in capsys.readouterr().out


def test_foreign_module_with_its_own_data(workplace: Path) -> None:
    row = result(fit("--model", "tests.foreign.MyNetWithData", "--trainer.max_epochs", "1"))
    assert row["data"] is None
    assert row["accuracy"]["train"] > 0.5, "as many classes as there are scores, since nobody says how many"
    assert [note.partition(" ")[0] for note in row["notes"]] == ["val", "test"]


def test_our_model_on_foreign_data_with_its_shape_given(workplace: Path) -> None:
    row = result(fit("--data", "tests.foreign.MyData", "--model.input_shape", "[4]", "--trainer.max_epochs", "1"))
    assert row["params"] == (4 * 42 + 42) + (42 * 2 + 2), "two classes, from the data"


@pytest.mark.real_data
@pytest.mark.parametrize(("model", "data"), [("MLP", "MNIST"), ("CNN", "MNIST"), ("CNN1d", "HAPT"), ("DSCNN", "HAPT")])
def test_real_data_found_by_environment(
    model: str, data: str, workplace: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MCUBENCH_DATA", str(real_data))
    row = result(fit("--model", model, "--data", data, "--trainer.max_steps", "200"))
    assert row["accuracy"]["test"] > {"MNIST": 0.85, "HAPT": 0.6}[data]
    assert row["data"]["init_args"]["root"] is None
    if data == "MNIST":
        assert row["notes"] == ["no epoch was validated with val/accuracy, so the last weights were scored"]
    assert all(0 < row["macro_f1"][part] < 1 for part in ("train", "val", "test"))


def test_a_refused_resume_leaves_the_run_as_it_was(workplace: Path) -> None:
    first = fit("--trainer.max_epochs", "1")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    assert main(["fit", "--trainer.default_root_dir", "runs", "--ckpt_path", "last", "--trainer.max_epochs", "2"]) == 2
    assert {path: path.read_bytes() for path in first.rglob("*") if path.is_file()} == before


def test_a_checkpoint_from_elsewhere_starts_a_new_run(workplace: Path) -> None:
    first = fit("--model.schedule", "constant", "--trainer.max_epochs", "1")
    (first / "checkpoints" / "last.ckpt").rename("lone.ckpt")
    options = ["--model.schedule", "constant", "--trainer.max_epochs", "2", "--ckpt_path", "lone.ckpt"]
    second = fit(*options)
    assert second != first
    assert result(second)["steps"] == 2 * 36
    assert result(first)["steps"] == 36


def test_without_checkpoints_the_last_weights_are_scored(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit("--trainer.max_epochs", "1", "--trainer.enable_checkpointing", "false")
    assert not (folder / "checkpoints").exists()
    row = result(folder)
    assert row["checkpoint"] == {"path": None}
    assert row["accuracy"]["val"] == pytest.approx(row["logged"]["val/accuracy"])
    assert "the weights as they were trained last" in capsys.readouterr().out


def test_fast_dev_run_leaves_nothing(workplace: Path) -> None:
    assert main(["fit", "--trainer.fast_dev_run", "true"]) == 0
    assert not [path for path in workplace.rglob("*") if path.is_file()]


@pytest.mark.parametrize("verb", ["fit", "test"])
def test_help_of_a_verb_teaches(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([verb, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "--ckpt_path" in out
    assert "module.Class of your own" in out or "newest run's checkpoint" in out


def fit_foreign(model: str, data: str, *args: str) -> dict[str, Any]:
    return result(fit("--model", f"tests.foreign.{model}", "--data", f"tests.foreign.{data}", *args))


def test_hooks_of_foreign_data_are_part_of_the_score(workplace: Path) -> None:
    row = fit_foreign("MyNet", "MyHooks", "--trainer.max_epochs", "4")
    assert row["accuracy"]["val"] > 0.8


def test_foreign_data_that_prepares_its_test_set_late(workplace: Path) -> None:
    row = fit_foreign("MyNet", "MyStages", "--trainer.max_epochs", "4")
    assert row["accuracy"]["test"] > 0.8


def test_a_forward_that_can_not_be_scored_keeps_the_rest_of_the_result(workplace: Path) -> None:
    row = fit_foreign("MyTwoInputs", "MyData", "--trainer.max_epochs", "1")
    assert row["accuracy"] == {"train": None, "val": None, "test": None}
    assert "TypeError" in row["notes"][0]
    assert row["steps"] == 10


def test_a_checkpoint_with_objects_does_not_cost_the_result(workplace: Path) -> None:
    row = fit_foreign("MyObjects", "MyData", "--trainer.max_epochs", "2", "--checkpoint.monitor", "my_val_loss")
    assert row["accuracy"]["val"] is not None
    assert "best.ckpt" in row["notes"][0]


def test_a_model_with_its_own_data_in_a_configuration(workplace: Path) -> None:
    Path("own.yaml").write_text("model:\n  class_path: tests.foreign.MyNetWithData\n")
    assert result(fit("--config", "own.yaml", "--trainer.max_epochs", "1"))["data"] is None
    assert result(fit("--model", "tests.foreign.MyNetWithData", "--data", "null", "--trainer.max_epochs", "1"))["steps"]


def test_predict_needs_predict_step(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit("--model", "tests.foreign.MyNet", "--data", "tests.foreign.MyStages", "--trainer.max_epochs", "1")
    assert main(["predict", "--ckpt_path", "last"]) == 2
    assert "predict needs MyNet.predict_step" in capsys.readouterr().err


def test_the_best_weights_are_those_that_were_validated(workplace: Path) -> None:
    steep = ["--model.schedule", "constant", "--model.learning_rate", "0.05", "--trainer.max_epochs", "3"]
    folder = fit(*steep, "--trainer.val_check_interval", "0.3")
    row = result(folder)
    assert row["accuracy"]["val"] == pytest.approx(row["checkpoint"]["value"])
    best, last = (
        torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
        for name in ("best", "last")
    )
    assert not torch.equal(best["layers.1.weight"], last["layers.1.weight"]), "or the test would show nothing"


def test_best_by_loss_is_the_smallest(workplace: Path) -> None:
    folder = fit("--trainer.max_epochs", "4", "--checkpoint.monitor", "val/loss")
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert result(folder)["checkpoint"]["value"] == pytest.approx(min(float(each["val/loss"]) for each in rows))


def test_a_run_that_was_moved_keeps_its_best(workplace: Path) -> None:
    first = fit("--model.schedule", "constant", "--model.learning_rate", "0.01", "--trainer.max_epochs", "4")
    value = result(first)["checkpoint"]["value"]
    Path("runs").rename("moved")
    again = fit("--ckpt_path", "last", "--model.learning_rate", "5", "--trainer.max_epochs", "5", root="moved")
    checkpoint = result(again)["checkpoint"]
    assert checkpoint["value"] >= value
    assert result(again)["accuracy"]["val"] == pytest.approx(checkpoint["value"])


def test_divergence_is_said_and_is_valid_json(workplace: Path) -> None:
    options = ["--model.learning_rate", "1e30", "--model.optimizer", "sgd", "--trainer.max_epochs", "2"]
    folder = fit(*options, "--checkpoint.monitor", "val/accuracy")
    row = json.loads(
        (folder / "result.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON")
    )
    assert row["logged"]["train/loss"] is None
    assert any("diverged" in note for note in row["notes"])


def test_steps_may_take_more_than_the_default_epochs(workplace: Path) -> None:
    assert result(fit("--trainer.max_steps", "400"))["steps"] == 400


def test_a_checkpoint_asked_for_in_a_configuration(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("resume.yaml").write_text("ckpt_path: last\ntrainer:\n  default_root_dir: elsewhere\n")
    assert main(["fit", "--config", "resume.yaml"]) == 2
    assert "elsewhere" in capsys.readouterr().err


def test_another_class_takes_nothing_over_from_the_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit("--trainer.max_epochs", "1")
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["test", "--ckpt_path", "last", "--data", "MNIST", "--print_config"])
    assert yaml.safe_load(capsys.readouterr().out)["data"]["init_args"]["batch_size"] == 100


def test_the_callbacks_may_also_be_asked_for(workplace: Path) -> None:
    row = result(fit("--trainer.callbacks+=mcubench.callbacks.EpochTimer", "--trainer.max_epochs", "1"))
    assert row["seconds"]["epoch"] > 0


def test_a_path_that_looks_like_markup(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit("--trainer.max_epochs", "1", root="[/bold]")
    assert "[/bold]" in capsys.readouterr().out


def test_a_refused_run_leaves_no_folder(workplace: Path) -> None:
    assert main(["fit", "--data.split", "subject"]) == 2
    assert list(workplace.glob("runs/*")) == []


def test_the_command_is_what_was_asked_for(workplace: Path) -> None:
    row = result(fit("--trainer.max_epochs", "1"))
    asked = ["fit", "--trainer.default_root_dir", "runs", "--trainer.max_epochs", "1"]
    assert row["command"] == ["python", "-m", "mcubench", *asked]


def test_quantised_training_is_scored_rounded(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores counted anew with the ranges in best.ckpt; those in float are others."""
    options = ["--trainer.callbacks+=QuantizationAwareTraining", "--trainer.callbacks.weight_bits=2"]
    folder = fit("--model.hidden=[8]", "--trainer.max_epochs=3", *options)
    row = result(folder)
    assert row["bits"] == {"weight": 2, "activation": 8}
    assert row["notes"] == []
    assert row["flash_bytes"] == 28 * 28 * 8 // 4 + 8 * 10 // 4 + (8 + 10) * (4 + 8)
    path = folder / "checkpoints" / "best.ckpt"
    model = MLP.load_from_checkpoint(path, weights_only=True).eval()
    state = find_qat_state(torch.load(path, weights_only=True))
    assert state is not None
    plan = make_plan(model, model.example_input_array)
    quantizer = FakeQuantizer(plan, BitWidths(2), "moving_average")
    quantizer.load(state)
    data = Digits()
    for rounded in (False, True):
        if rounded:
            quantizer.attach(model, lambda: Phase.ROUND)
        found = {}
        for part in ("train", "val", "test"):
            x, y = data.arrays(part)  # type: ignore[arg-type]
            found[part] = float((model(torch.tensor(x)).argmax(1).numpy() == y).mean())
        assert (found == pytest.approx(row["accuracy"])) == rounded
    capsys.readouterr()
    assert main(["test", "--ckpt_path", str(folder)]) == 0
    said = re.search(r"test/accuracy\D+([\d.]+)", capsys.readouterr().out)
    assert said is not None
    assert float(said[1]) == pytest.approx(row["accuracy"]["test"])
    again = fit("--config", str(folder / "config.yaml"))
    assert result(again)["accuracy"] == row["accuracy"]


def test_a_best_epoch_before_quantisation_is_said(workplace: Path) -> None:
    late = ["--trainer.callbacks+=QuantizationAwareTraining", "--trainer.callbacks.start_epoch=5"]
    row = result(fit("--trainer.max_epochs=1", *late))
    assert row["notes"] == ["best.ckpt is of an epoch before quantisation began, so its float values were scored"]
