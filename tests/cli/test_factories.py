"""Modules that say ``optimizer: torch.optim.Optimizer``: the learning rate that torch was given is the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mcubench.cli.main import main
from tests.foreign import MyNet

FEW = ["--data", "tests.foreign.MyData", "--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
made_here: list[tuple[str, float]] = []


class Direct(MyNet):
    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        self.made = optimizer

    def configure_optimizers(self) -> Any:
        optimizer = self.made(self.parameters())  # type: ignore[operator]
        made_here.append((type(optimizer).__name__, optimizer.param_groups[0]["lr"]))
        return optimizer


class Maybe(Direct):
    def __init__(self, optimizer: torch.optim.SGD | None = None) -> None:
        super().__init__(optimizer or torch.optim.Adagrad)  # type: ignore[arg-type]


class Template(MyNet):
    """As the best known template has it: a module as an annotation, and factories among the hyperparameters."""

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler,  # type: ignore[valid-type]
    ) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False, ignore=["net"])
        self.net = nn.Sequential(net)

    def configure_optimizers(self) -> Any:
        optimizer = self.hparams.optimizer(params=self.parameters())
        scheduler = self.hparams.scheduler(optimizer=optimizer)
        made_here.append((type(scheduler).__name__, scheduler.get_last_lr()[0]))
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


@pytest.mark.parametrize(
    ("model", "options", "made"),
    [
        ("Direct", "--model.optimizer torch.optim.SGD --model.optimizer.lr 0.25", ("SGD", 0.25)),
        ("Maybe", "", ("Adagrad", 0.01)),
        ("Maybe", "--model.optimizer torch.optim.SGD --model.optimizer.lr 0.5", ("SGD", 0.5)),
    ],
)
def test_an_optimiser_is_made_of_its_options(
    workplace: Path, model: str, options: str, made: tuple[str, float]
) -> None:
    made_here.clear()
    assert main(["fit", "--model", f"tests.cli.test_factories.{model}", *options.split(), *FEW]) == 0
    assert made_here == [made]


def test_hyperparameters_that_make_an_optimiser_are_saved_as_options(workplace: Path) -> None:
    made_here.clear()
    options = "--model.net torch.nn.Linear --model.net.in_features 4 --model.net.out_features 2 "
    options += "--model.optimizer torch.optim.Adam --model.optimizer.lr 0.125 "
    options += "--model.scheduler torch.optim.lr_scheduler.ConstantLR --model.scheduler.factor 0.5"
    assert main(["fit", "--model", "tests.cli.test_factories.Template", *options.split(), *FEW]) == 0
    assert main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "2"]) == 0
    assert made_here == [("ConstantLR", 0.0625)] * 2
    (path,) = workplace.rglob("last.ckpt")
    saved = torch.load(path, weights_only=True)["hyper_parameters"]["optimizer"]
    assert saved["class_path"] == "torch.optim.Adam"


class Several(MyNet):
    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        super().__init__()


def test_one_that_can_not_be_made_yet_names_the_annotation(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = "--model.optimizers=[{class_path: torch.optim.Adam}]"
    assert main(["fit", "--model", "tests.cli.test_factories.Several", given, *FEW]) == 2
    line = capsys.readouterr().err
    assert "Adam can't be made before its params is known" in line
    assert "OptimizerCallable" in line
    assert "needs --model" not in line
