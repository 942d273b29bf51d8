"""Data and predictions of others that a fit, a test or a prediction can't use, through the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mcubench.cli.main import main
from mcubench.datamodules import Arrays, TensorDataModule
from tests.trained import trained

QUIET = ["--threads", "1", "--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1"]


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def undefined() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    x[3, 1] = np.nan
    return x, np.arange(60) % 3


class NaN(TensorDataModule):
    input_shape = (4,)
    num_classes = 3
    class_names = ("a", "b", "c")

    def load(self) -> tuple[Arrays, Arrays]:
        return Arrays(*undefined()), Arrays(*undefined())


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield torch.zeros(2, 4), torch.tensor([0, 1])


class Endless(pl.LightningDataModule):
    input_shape = (4,)
    num_classes = 3

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return DataLoader(Stream(), batch_size=None)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(torch.zeros(30, 4), torch.arange(30) % 3), batch_size=10)


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("model", ["MLP", "DecisionTree", "KNN"])
def test_what_is_not_finite_is_named_and_leaves_nothing(capsys: pytest.CaptureFixture[str], model: str) -> None:
    line = error_of(capsys, "fit", *QUIET, "--model", model, "--data", "tests.cli.test_own_data.NaN")
    assert "NaN.load, training set: x must be finite" in line
    assert "index 3 has nan at (1,)" in line
    assert not list(Path("runs").glob("*"))


def test_an_endless_loader_is_scored_on_what_was_trained_on() -> None:
    words = ["--data", "tests.cli.test_own_data.Endless", "--trainer.limit_train_batches", "5"]
    run = trained(Path("runs"), *words, "--threads", "1")
    result = json.loads((run / "result.json").read_text())
    assert result["accuracy"]["train"] is not None
    assert "train scores are of the first 5 batches: the loader has no length" in result["notes"]


def test_predictions_that_are_nan_are_of_no_class(capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(Path("runs"), "--model.hidden", "[4]", "--data.size", "8", "--threads", "1")
    path = run / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["layers.1.weight"].fill_(torch.nan)
    torch.save(checkpoint, path)
    capsys.readouterr()
    line = error_of(capsys, "predict", "--ckpt_path", str(path))
    assert "360 of 360 predictions are not finite, the first at index 0" in line
    assert not (run / "predictions.csv").exists()
    for verb in ("test", "validate"):
        assert main([verb, "--ckpt_path", str(path)]) == 2
        assert "MLP gives scores that are not finite" in capsys.readouterr().err
