"""``fit --distill RUN``: what is learned, what is said of it, and which teachers are refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mcubench.cli.main import main
from mcubench.results.result import read_result
from tests.cli.test_main import failure
from tests.trained import trained

SMALL = ["--data", "Digits", "--data.size", "8", "--threads", "1"]
PUPIL = ["--model", "MLP", "--model.hidden=[4]", *SMALL]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of MLP 64 on digits of 8 x 8 pixels."""
    options = ["--model", "MLP", "--model.hidden=[64]", *SMALL]
    return trained(tmp_path_factory.mktemp("teacher"), *options)


def test_a_pupil_learns_from_a_run_and_its_result_says_so(teacher: Path, tmp_path: Path) -> None:
    run = trained(tmp_path, *PUPIL, "--distill", str(teacher), "--distill.weight", "0.8")
    plain = trained(tmp_path, *PUPIL)
    taught, alone = read_result(run), read_result(plain)
    assert [note for note in taught["notes"] if "(--distill, weight 0.8, temperature 4)" in note]
    assert not [note for note in alone["notes"] if "--distill" in note]
    assert taught["logged"]["train/loss"] != alone["logged"]["train/loss"]
    assert taught["logged"]["train/distillation"] > 0
    assert all(taught[cost] == alone[cost] for cost in ("macs", "flash_bytes", "ram_bytes", "params"))


def test_a_teacher_without_a_say_changes_nothing_else(teacher: Path, tmp_path: Path) -> None:
    """Its making draws no numbers that the fit draws: with next to no weight the weights are those without it."""
    nearly = trained(tmp_path, *PUPIL, f"--distill={teacher}", "--distill.weight", "1e-12")
    alone = read_result(trained(tmp_path, *PUPIL))
    assert read_result(nearly)["logged"]["val/loss"] == pytest.approx(alone["logged"]["val/loss"], rel=1e-5)


def test_a_run_goes_on_with_its_teacher_wherever_that_lies_now(
    teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*PUPIL, "--model.schedule", "constant"]
    copied = tmp_path / "teacher"
    shutil.copytree(teacher, copied)
    whole = trained(tmp_path / "whole", *options, f"--distill={teacher}", "--trainer.max_epochs=2")
    run = trained(tmp_path / "part", *options, f"--distill={copied}")
    copied.rename(tmp_path / "moved")
    again = ["fit", "--ckpt_path", str(run), "--trainer.max_epochs=2"]
    assert "--distill: there is no file" in failure(capsys, *again)
    assert main([*again, "--distill", str(tmp_path / "moved")]) == 0
    assert read_result(run)["logged"] == read_result(whole)["logged"]
    other = trained(tmp_path / "other", *PUPIL)
    assert "another teacher" in failure(capsys, *again[:3], "--trainer.max_epochs=3", f"--distill={other}")


def test_seeds_are_trained_one_after_another(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path), "--trainer.max_epochs=1"]
    assert main(["fit", *PUPIL, *root, f"--distill={teacher}", "--seeds", "2"]) == 0
    assert "they learn from a teacher (--distill)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data.size", "28"], "its samples are scaled or chosen otherwise"),
        (["--data.split_seed", "1"], "on samples that validate here"),
        (["--data.folds", "5"], "on samples that validate here"),
        (["--distill.weight", "2"], "weight, the teacher's share of the loss, must be above 0 and at most 1; got 2"),
        (["--distill.temperature", "0"], "temperature must be positive and finite, got 0"),
        (["--distill", "nowhere"], "--distill: there is no file nowhere"),
        (["--distill", "best"], "--distill best: there is no run"),
    ],
)
def test_what_can_not_be_learned_from(
    options: list[str], message: str, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path)]
    assert message in failure(capsys, "fit", *PUPIL, *root, f"--distill={teacher}", *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model", "DecisionTree"], "DecisionTree is a classical model, which gives no logits"),
        (
            ["--model", "MLP", "--trainer.callbacks+=QuantizationAwareTraining"],
            "it was trained with rounding, and would teach without",
        ),
    ],
)
def test_models_that_teach_nobody(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = trained(tmp_path, *options, *(SMALL if "MLP" in options else SMALL[:4]))
    root = ["--trainer.default_root_dir", str(tmp_path / "runs")]
    assert message in failure(capsys, "fit", *PUPIL, *root, f"--distill={other}")
