"""What a module tells ``self.logger.experiment``, read back from the file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from mcubench.cli.main import main
from mcubench.results.metrics_log import MetricsLog, read_metrics
from tests.foreign import MyNet


class Telling(MyNet):
    """Speaks to TensorBoard, as many examples do; also where it is measured."""

    def on_train_epoch_end(self) -> None:
        self.logger.experiment.add_scalar("told", 0.5, self.global_step)  # type: ignore[union-attr]

    def on_test_epoch_end(self) -> None:
        self.logger.experiment.add_scalar("told", 0.5, 0)  # type: ignore[union-attr]

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> None:
        self.log("test_loss", 1.0)


def test_numbers_are_kept_and_all_else_is_named_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    log = MetricsLog(tmp_path, "run")
    experiment = log.experiment
    experiment.add_scalar("a", torch.tensor(1.5), 3)
    experiment.add_scalars("b", {"x": 1, "y": 2}, global_step=3)
    with pytest.warns(UserWarning, match="left log of object out"):
        experiment.log({"c": 4, "picture": object()}, step=4)
    with pytest.warns(UserWarning, match="left add_histogram out"):
        experiment.add_histogram("h", torch.zeros(3), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        experiment.add_histogram("h", torch.zeros(3), 4)
    log.save()
    assert read_metrics(log.path) == [{"step": 3, "a": 1.5, "b/x": 1, "b/y": 2}, {"step": 4, "c": 4}]


def test_a_tracker_of_the_users_own_is_what_a_module_finds(tmp_path: Path) -> None:
    log, own = MetricsLog(tmp_path, "run"), CSVLogger(tmp_path)
    log.beside = [own]
    assert log.experiment is own.experiment


def test_a_module_that_asks_for_it_is_trained_and_measured(workplace: Path) -> None:
    options = ["--model", "tests.results.test_experiment.Telling", "--data", "tests.foreign.MyStages"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main(["fit", *options, "--trainer.max_epochs", "2", "--trainer.enable_progress_bar", "false"]) == 0
        assert main(["test", "--ckpt_path", "last", "--trainer.enable_progress_bar", "false"]) == 0
    (path,) = workplace.rglob("metrics.csv")
    assert [row["told"] for row in read_metrics(path) if "told" in row] == [0.5, 0.5]
