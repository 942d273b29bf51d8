"""Lightning's helpers on the command line: what is scored, priced and recorded is what was trained."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mcubench.cli.main import main
from mcubench.datamodules import Digits
from mcubench.models import DSCNN, MLP
from mcubench.quant.training import find_qat_state
from tests.cli.test_fit import fit, result

SMALL = ["--data.size=8", "--model.schedule=constant"]
QAT = ["--trainer.callbacks+=QuantizationAwareTraining", "--trainer.callbacks.weight_bits=2"]
FLOAT_FLASH = 8 * 8 * 42 + 42 * 10 + (42 + 10) * 12  # at 8 bits, with a bias, a multiplier and a shift an output


def accuracy(model: torch.nn.Module, part: str = "test") -> float:
    x, y = Digits(size=8).arrays(part)  # type: ignore[arg-type]
    return float((model.eval()(torch.tensor(x)).argmax(1).numpy() == y).mean())


class TestFloatThenQuantised:
    def test_the_row_of_a_run_that_goes_on_is_of_a_rounded_epoch(self, workplace: Path) -> None:
        fit(*SMALL, "--trainer.max_epochs=4")
        folder = fit(*SMALL, "--trainer.max_epochs=6", "--ckpt_path=last", *QAT)
        row = result(folder)
        assert row["bits"]["weight"] == 2
        assert row["checkpoint"]["epoch"] in (5, 6)
        (note,) = row["notes"]
        assert note.startswith(
            "went on after 144 steps with --trainer.callbacks QuantizationAwareTraining (weight_bits 2"
        )
        assert note.endswith(", before none")
        best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
        assert find_qat_state(best) is not None
        logged = list(csv.DictReader((folder / "metrics.csv").open()))[4:]
        assert row["checkpoint"]["value"] == pytest.approx(max(float(each["val/accuracy"]) for each in logged))

    @pytest.mark.parametrize("checkpoints", ["true", "false"])
    def test_what_was_never_rounded_is_priced_as_float_runs_are(
        self, checkpoints: str, workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        late = ["--trainer.callbacks.start_epoch=9", "--trainer.max_epochs=2"]
        row = result(fit(*SMALL, *QAT, *late, f"--trainer.enable_checkpointing={checkpoints}"))
        plain = result(fit(*SMALL, "--trainer.max_epochs=2", f"--trainer.enable_checkpointing={checkpoints}"))
        assert row["accuracy"] == plain["accuracy"]
        assert row["bits"] == plain["bits"] == {"weight": 8, "activation": 8}
        assert row["flash_bytes"] == plain["flash_bytes"] == FLOAT_FLASH
        assert len(row["notes"]) == 1
        assert "float" in row["notes"][0]
        assert "start_epoch 9, from 0" in " ".join(capsys.readouterr().out.split()) or checkpoints == "true"

    def test_nothing_left_to_train(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        fit(*SMALL, "--trainer.max_epochs=2")
        row = result(fit(*SMALL, "--trainer.max_epochs=2", "--ckpt_path=last", *QAT))
        assert row["bits"]["weight"] == 8
        assert row["flash_bytes"] == FLOAT_FLASH
        assert "nothing was left to train after 2 epochs" in capsys.readouterr().out
        assert any("float values were scored" in note for note in row["notes"])

    def test_no_rounded_epoch_was_validated(self, workplace: Path) -> None:
        fit(*SMALL, "--trainer.max_epochs=2")
        never = ["--trainer.limit_val_batches=0", "--trainer.max_epochs=3"]
        row = result(fit(*SMALL, *never, "--ckpt_path=last", *QAT))
        assert row["bits"]["weight"] == 2
        assert row["checkpoint"] == {"path": "checkpoints/last.ckpt"}
        assert "no rounded epoch was validated with val/accuracy, so the last weights were scored" in row["notes"]
        assert "went on after 72 steps with --trainer.limit_val_batches 0, before not set" in row["notes"]


SWA = [
    "--trainer.callbacks+=StochasticWeightAveraging",
    "--trainer.callbacks.swa_lrs=0.005",
    "--trainer.callbacks.swa_epoch_start=2",
]


class TestAveragedWeights:
    @pytest.mark.parametrize("model", [MLP, DSCNN])
    def test_they_are_saved_scored_and_named(
        self, model: Any, workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = fit(f"--model={model.__name__}", *SMALL, "--trainer.max_epochs=4", *SWA)
        row, out = result(folder), " ".join(capsys.readouterr().out.split())
        assert row["checkpoint"] == {"path": "checkpoints/averaged.ckpt", "averaged_by": "StochasticWeightAveraging"}
        assert "scored checkpoints/averaged.ckpt, averaged by StochasticWeightAveraging" in out
        averaged = model.load_from_checkpoint(folder / "checkpoints" / "averaged.ckpt", weights_only=True)
        assert row["accuracy"]["test"] == pytest.approx(accuracy(averaged))
        assert row["epochs"] == 4
        assert row["steps"] == 4 * 36
        assert main(["test", "--ckpt_path", "averaged"]) == 0
        assert "averaged.ckpt" in capsys.readouterr().out
        again = result(fit("--ckpt_path=last"))
        for key in ("accuracy", "checkpoint", "steps"):
            assert again[key] == row[key]

    def test_without_checkpoints_they_are_scored_too(self, workplace: Path) -> None:
        row = result(fit(*SMALL, "--trainer.max_epochs=4", "--trainer.enable_checkpointing=false", *SWA))
        assert row["checkpoint"] == {"path": None, "averaged_by": "StochasticWeightAveraging"}

    def test_an_average_that_never_reached_the_module(self, workplace: Path) -> None:
        row = result(fit(*SMALL, "--trainer.max_epochs=4", "--trainer.max_steps=100", *SWA))
        assert row["checkpoint"]["path"] == "checkpoints/best.ckpt"
        assert any("when epoch 4 has ended, and it has not" in note for note in row["notes"])

    def test_quantised(self, workplace: Path) -> None:
        folder = fit(*SMALL, "--trainer.max_epochs=4", *SWA, *QAT)
        row = result(folder)
        assert row["bits"]["weight"] == 2
        assert row["checkpoint"]["path"] == "checkpoints/averaged.ckpt"
        checkpoint = torch.load(folder / "checkpoints" / "averaged.ckpt", weights_only=True)
        assert find_qat_state(checkpoint) is not None

    def test_exponential_averages_are_the_best_of_the_validated(self, workplace: Path) -> None:
        ema = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.9"]
        folder = fit("--model=DSCNN", *SMALL, "--trainer.max_epochs=4", *ema)
        row = result(folder)
        assert row["checkpoint"]["averaged_by"] == "EMAWeightAveraging"
        best = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)
        model = DSCNN.load_from_checkpoint(folder / "checkpoints" / "best.ckpt", weights_only=True)
        assert row["accuracy"]["test"] == pytest.approx(accuracy(model))
        assert row["checkpoint"]["value"] == pytest.approx(accuracy(model, "val"))
        assert any(
            not torch.equal(best["state_dict"][key], value) for key, value in best["current_model_state"].items()
        )

    def test_averages_of_untrained_weights_are_refused(
        self, workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ema = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.max_epochs=4"]
        assert main(["fit", "--model=DSCNN", *SMALL, *ema]) == 2
        assert "with a decay of 0.999 144 steps leave 87 %" in capsys.readouterr().err  # 0.999 ** 143
        row = result(fit("--model=tests.foreign.MyNet", "--data=tests.foreign.MyData", *ema))
        assert any("leave 96 %" in note for note in row["notes"]), "0.999 ** 39: of any module it is a note"


class TestSearches:
    def test_a_learning_rate(self, workplace: Path) -> None:
        search = ["--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.num_training_steps=30"]
        folder = fit("--data.size=8", "--trainer.max_epochs=2", *search)
        row = result(folder)
        found = row["model"]["init_args"]["learning_rate"]
        assert found != 0.005
        assert row["notes"] == [f"LearningRateFinder has set learning_rate to {found:.6g}, in the place of 0.005"]
        config = yaml.safe_load((folder / "config.yaml").read_text())
        assert config["model"]["init_args"]["learning_rate"] == found
        checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert checkpoint["optimizer_states"][0]["param_groups"][0]["max_lr"] == pytest.approx(found)

    def test_a_batch_size(self, workplace: Path) -> None:
        search = ["--trainer.callbacks+=BatchSizeFinder", "--trainer.callbacks.max_trials=3"]
        folder = fit("--data.size=8", "--trainer.max_epochs=2", *search, "--trainer.callbacks.init_val=100")
        row = result(folder)
        assert row["data"]["init_args"]["batch_size"] == 400
        assert row["steps"] == 2 * 3

    def test_a_run_that_goes_on_keeps_what_was_found(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        search = ["--trainer.callbacks+=LearningRateFinder", "--trainer.callbacks.num_training_steps=30"]
        found = result(fit(*SMALL, "--trainer.max_epochs=1", *search))["model"]["init_args"]["learning_rate"]
        row = result(fit("--ckpt_path=last", "--trainer.max_epochs=2"))
        assert row["epochs"] == 2
        assert row["steps"] == 2 * 36
        assert row["model"]["init_args"]["learning_rate"] == found
        assert "LearningRateFinder is left out" in " ".join(capsys.readouterr().out.split())


def test_steps_that_lightning_does_not_see(workplace: Path) -> None:
    """Ten batches an epoch; metrics of the first epoch stay when the run goes on."""
    words = ["--model=tests.callbacks.test_resume.RawOptimiser", "--data=tests.foreign.MyData"]
    fit(*words, "--trainer.max_epochs=1")
    folder = fit("--ckpt_path=last", "--trainer.max_epochs=2")
    row = result(folder)
    assert row["epochs"] == 2
    assert row["steps"] is None
    assert any("optimiser steps are not known: RawOptimiser" in note for note in row["notes"])
    assert not any("nothing was left" in note for note in row["notes"])
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [int(each["step"]) for each in rows] == [9, 19]
