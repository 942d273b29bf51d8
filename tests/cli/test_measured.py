"""``validate`` and ``test`` of somebody's module: accuracy counted here, without ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mcubench.cli.main import main
from tests.foreign import MyNet, loader

DATA = ["--data", "tests.foreign.MyStages", "--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"]


def accuracy() -> str:
    (path,) = Path("runs").glob("*/checkpoints/last.ckpt")
    net = MyNet()
    net.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    net.eval()
    right = torch.cat([net(x).argmax(1) == y for x, y in loader()])
    return f"{100 * right.float().mean():.2f} %"


def test_a_module_without_a_test_step_is_scored(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model", "tests.foreign.MyNet", *DATA]) == 0
    hints = capsys.readouterr().out.partition("Try next:")[2]
    assert "test --ckpt_path last" in hints
    for verb, logged in (("test", False), ("validate", True)):
        assert main([verb, "--ckpt_path", "last", "--trainer.enable_progress_bar", "false"]) == 0
        out = capsys.readouterr().out
        assert accuracy() in out
        assert "200" in out
        assert ("logged  my_val_loss 0." in out) == logged
        assert "metric" not in out, "not Lightning's table"


def test_what_is_no_classifier_says_why(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model", "tests.foreign.MyTwoInputs", *DATA]) == 0
    capsys.readouterr()
    assert main(["test", "--ckpt_path", "last", "--trainer.enable_progress_bar", "false"]) == 0
    assert "note: accuracy and macro-F1 are not known: TypeError" in capsys.readouterr().out


def test_commands_of_a_run_elsewhere_name_it(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--trainer.default_root_dir", "other", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--model", "tests.foreign.MyNet", *DATA, *root]) == 0
    hints = capsys.readouterr().out.partition("Try next:")[2].splitlines()
    (command,) = [line.split("#")[0].split()[3:] for line in hints if " test " in line]
    assert command[-1].startswith("other/")
    assert main([*command, "--trainer.enable_progress_bar", "false"]) == 0
