"""What a run's folder holds is looked at before it is used: a line that names the file, by every verb that reads it.

`results/test_results.py` and `results/test_comparison.py` have the kinds of damage; here it is who meets them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mcubench.cli.main import main
from tests.cli.test_main import failure
from tests.trained import digits_run
from tests.unreadable import hidden_from_us

__all__ = ["digits_run"]

QUIET = ("--trainer.enable_progress_bar", "false")
SAVED = "checkpoints/best.ckpt"


@pytest.fixture
def run(digits_run: Path, tmp_path: Path) -> Path:
    """A copy of a run, which may be damaged."""
    return Path(shutil.copytree(digits_run, tmp_path / "runs" / "run"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    weights = torch.load(path, weights_only=True)["state_dict"]
    tensor = max(weights.values(), key=torch.Tensor.numel)
    content[content.find(tensor.numpy().tobytes()) + 3] ^= 0x40
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def write(path: Path) -> None:
    path.write_text("hello world\n")


@pytest.mark.parametrize("verb", ["test", "validate", "predict", "export", "profile", "fit"])
def test_an_altered_checkpoint_is_refused_by_every_verb(
    run: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    flip(run / SAVED)
    before = sorted(run.rglob("*"))
    said = failure(capsys, verb, "--ckpt_path", str(run / SAVED), *(QUIET if verb in ("test", "fit") else ()))
    assert "best.ckpt is damaged: " in said
    assert "CRC-32" in said
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize("damage", [cut, write], ids=["cut", "text"])
@pytest.mark.parametrize("verb", ["test", "export", "fit"])
def test_what_is_no_checkpoint(
    run: Path, capsys: pytest.CaptureFixture[str], verb: str, damage: Callable[[Path], None]
) -> None:
    damage(run / SAVED)
    assert "best.ckpt is damaged" in failure(capsys, verb, "--ckpt_path", str(run / SAVED))


@pytest.mark.parametrize("left", [("state_dict",), ("state_dict", "epoch", "global_step", "pytorch-lightning_version")])
def test_weights_alone_are_tested_and_not_trained(
    run: Path, capsys: pytest.CaptureFixture[str], left: tuple[str, ...]
) -> None:
    checkpoint = torch.load(run / SAVED, weights_only=True)
    torch.save({name: checkpoint[name] for name in left}, run / SAVED)
    assert main(["test", "--ckpt_path", str(run / SAVED), *QUIET]) == 0
    assert "best.ckpt can't be gone on from: " in failure(capsys, "fit", "--ckpt_path", str(run / SAVED), *QUIET)


@pytest.mark.parametrize("verb", ["test", "export"])
def test_a_checkpoint_that_we_may_not_read(run: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    with hidden_from_us(run / SAVED):
        assert "best.ckpt can't be read: Permission denied" in failure(capsys, verb, "--ckpt_path", str(run / SAVED))


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 1}'])
@pytest.mark.parametrize("verb", ["export", "profile", "emulate"])
def test_a_damaged_result(run: Path, capsys: pytest.CaptureFixture[str], verb: str, content: str) -> None:
    (run / "result.json").write_text(content)
    said = failure(capsys, verb, "--ckpt_path", str(run / SAVED), *(["--device", "all"] if verb == "profile" else []))
    assert "result.json is damaged: " in said
    assert (run / "result.json").read_text() == content


def test_damaged_metrics_are_not_lost(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What goes on would have written over them."""
    (run / "metrics.csv").write_text("step,epoch,x\n1,0,abc\n")
    said = failure(capsys, "fit", "--ckpt_path", str(run), "--trainer.max_epochs", "2", *QUIET)
    assert "metrics.csv is damaged: line 2, x: 'abc' is no number" in said
    assert (run / "metrics.csv").read_text() == "step,epoch,x\n1,0,abc\n"


def test_a_checkpoint_that_lies_in_no_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside a folder that has somebody's own config.yaml and result.json."""
    weights = tmp_path / "weights"
    weights.mkdir()
    shutil.copy(run / SAVED, weights / "cnn.ckpt")
    for name in ("config.yaml", "result.json"):
        (tmp_path / name).write_text("mine: [1\n")
    options = ["--model", "CNN", "--model.channels", "4", "--data", "Digits", "--data.size", "8"]
    capsys.readouterr()
    assert main(["export", "--ckpt_path", str(weights / "cnn.ckpt"), "--output", str(tmp_path / "out"), *options]) == 0
    assert json.loads((tmp_path / "out" / "model.json").read_text())["run"] is None


def test_somebody_elses_run_is_not_the_last_one(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = shutil.copytree(run, run.parent / "theirs")
    monkeypatch.chdir(run.parents[1])
    with hidden_from_us(theirs):
        for words in (["compare"], ["profile", "--ckpt_path", "last"]):
            assert main(words) == 0
    assert "left out: runs/theirs/result.json can't be read" in " ".join(capsys.readouterr().out.split())
