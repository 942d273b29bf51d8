"""What the machine refuses is one line, before the work where it can be seen: folders, disks, memory, processes.

References: exit code 2, one line, and what lies on disk before and after.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mcubench.models import MLP
from tests import forked
from tests.cli.test_main import failure
from tests.trained import digits_run

__all__ = ["digits_run"]

PARALLEL = ["--trainer.accelerator", "cpu", "--trainer.devices", "2"]
QUIET = ["--data.size", "8", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trainer.strategy", "ddp_spawn"], "use --trainer.strategy ddp"),
        (["--trainer.strategy", "ddp_fork"], "use --trainer.strategy ddp"),
        (["--model", "DecisionTree", "--trainer.strategy", "ddp"], "DecisionTree is a classical model"),
        (["--model", "NumpyMLP", "--trainer.strategy", "ddp"], "NumpyMLP is a classical model"),
    ],
)
def test_processes_that_can_not_share_a_fit(
    workplace: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert said in failure(capsys, "fit", *QUIET, *PARALLEL, *options)
    assert not list(workplace.glob("runs/*"))


def test_predictions_that_can_not_be_written_are_seen_before(
    digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = digits_run / "predictions.csv"
    taken.mkdir()
    monkeypatch.setattr("mcubench.cli.fitting.lightning.write_predictions", None)  # not reached
    try:
        assert "is a folder" in failure(capsys, "predict", "--ckpt_path", str(digits_run))
    finally:
        taken.rmdir()


@pytest.mark.parametrize("verb", ["profile", "quantize", "emulate"])
def test_figures_that_can_not_be_written_are_seen_before(
    digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    line = failure(capsys, verb, "--ckpt_path", str(digits_run), "--json", "/proc/new/a.json")
    assert "--json /proc/new/a.json can't be written: /proc: " in line


def test_a_model_that_is_larger_than_the_memory(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = failure(capsys, "fit", *QUIET, "--model", "MLP", "--model.hidden", "[1000000000000]")
    assert "there is not enough memory (tried to allocate " in line
    monkeypatch.setattr(MLP, "training_step", lambda *_: torch.empty(2**50))
    assert "there is not enough memory" in failure(capsys, "fit", *QUIET, "--model", "MLP")


def test_output_that_goes_to_a_full_disk(tmp_path: Path) -> None:
    code = "import os, sys; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); from mcubench.cli.main import main; "
    done = forked.run(["-c", f"{code}sys.exit(main())", "--help"], timeout=60, cwd=tmp_path, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "mcubench: error: No space left on device" in done.stderr
