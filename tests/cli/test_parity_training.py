"""``parity --train`` as a user types it; the reference is what the library gives."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mcubench.cli.main import main
from tests.cli.test_main import failure

BACKEND = ["--backend", os.environ.get("KERAS_BACKEND", "tensorflow")]

MY_FILE = """
import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Plain(nn.Module):
    def __init__(self, outputs: int = 3):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(6, outputs))

    def forward(self, x):
        return self.layers(x)


class Labelled(pl.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(10, 2, 3), torch.arange(10) % 3), batch_size=4)

    test_dataloader = train_dataloader


class Unlabelled(Labelled):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.randn(10, 2, 3), torch.randn(10)), batch_size=4)
"""


@pytest.fixture
def my_file(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"my_{workplace.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MY_FILE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    return name


def test_trains_both_and_writes_what_it_found(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", "parity.json", "--plot", "losses.png"]
    assert main(["parity", "--train", "7", "--optimizer", "momentum", *files, *BACKEND]) == 0
    printed = capsys.readouterr().out
    assert "MLP, 7 steps of momentum at 0.01" in printed
    assert "train alike with momentum" in printed
    training = json.loads(Path("parity.json").read_text())["training"]
    assert training["passed"] is True
    assert len(training["torch"]["losses"]) == len(training["keras"]["losses"]) == 7
    assert training["gap"] <= 1e-3
    assert training["defaults"] == []
    assert Path("losses.png").read_bytes().startswith(b"\x89PNG")


def test_defaults_are_measured(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--train", "4", "--defaults", "--seeds", "2", "--json", "parity.json", "--model.hidden", "[4]"]
    assert main(["parity", *options, *BACKEND]) == 0
    rows = json.loads(Path("parity.json").read_text())["training"]["defaults"]
    names = [row["name"] for row in rows]
    assert names[0] == "PyTorch, other seeds"
    assert names[-1] == "all of them"
    assert {"initial kernel", "initial bias", "Adam: epsilon, and where"} <= set(names)
    printed = capsys.readouterr().out
    assert all(name.split(":")[0].split()[0] in printed for name in names)
    assert "glorot uniform" in printed


def test_a_gap_above_the_tolerance_is_exit_code_1(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "--train", "5", "--train_rtol", "1e-12", *BACKEND]) == 1
    assert "train differently" in capsys.readouterr().out


def test_any_module_on_any_labelled_data(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    """10 samples in batches of 4 are 3 batches: the fourth step is the next epoch's first."""
    options = ["--model", f"{my_file}.Plain", "--data", f"{my_file}.Labelled", "--train", "4", *BACKEND]
    assert main(["parity", *options]) == 0
    printed = capsys.readouterr().out
    assert "Plain, 4 steps of adam at 0.001" in printed
    assert "held out" not in printed  # it has no validation data


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--train", "0"], "--train must be at least 1; got 0"),
        (["--train", "5", "--seeds", "1"], "--seeds must be at least 2; got 1"),
        (["--train", "5", "--train_rtol", "0"], "--train_rtol must be above 0; got 0.0"),
        (["--train", "5", "--learning_rate", "-1"], "the learning rate must be above 0, got -1.0"),
        (["--train", "5", "--optimizer", "rmsprop"], "rmsprop"),
        (["--defaults"], "--defaults is about training: say --train 50 too"),
        (["--plot", "a.png"], "--plot is about training: say --train 50 too"),
        (["--train", "5", "--plot", "a.jpg"], "its name must end in .png; got a.jpg"),
        (["--train", "5", "--input_shape", "1,8,8", "--model.num_classes", "3"], "--train needs data with labels"),
    ],
)
def test_wrong_use_is_one_line(
    options: list[str], message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, "parity", *options, *BACKEND)
    assert not list(workplace.iterdir())


def test_labels_that_are_no_classes_are_refused(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", f"{my_file}.Plain", "--data", f"{my_file}.Unlabelled", "--train", "2", *BACKEND]
    assert "--train needs batches (x, y) with a class y" in failure(capsys, "parity", *options)
