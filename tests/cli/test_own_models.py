"""Models of people who know nothing of LightningModules: plain modules, and functions that make one."""

from __future__ import annotations

import copy
import functools
import json
import pickle
from pathlib import Path
from typing import Any

import lightning
import pytest
import pytorch_lightning
import torch
import yaml
from torch import Tensor, nn

from mcubench.cli.main import main
from mcubench.models.own import Network
from tests.foreign import MyNet

FEW = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false", "--data.size", "8"]


class Net(nn.Module):
    """Needs to be told how many classes there are, as many do."""

    def __init__(self, num_classes: int, width: int = 4, ends_in: str = "nothing") -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.head = nn.Linear(width * 36, num_classes)
        self.end = nn.Softmax(1) if ends_in == "softmax" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.head(torch.relu(self.conv(x)).flatten(1)))


def made(width=2):  # type: ignore[no-untyped-def]  # as people write them
    return Net(10, width)


def made_to_train(width: int = 8) -> MyNet:
    return MyNet(width)


def unsaid():  # type: ignore[no-untyped-def]
    return MyNet()


def number() -> int:
    return 3


narrow = functools.partial(Net, width=3)
ready = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
normalised = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.GroupNorm(3, 12), nn.Linear(12, 10))
five_classes = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
channels_last = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(84, 10))


class Old(pytorch_lightning.LightningModule):
    """Of the other package."""


class OldCallback(pytorch_lightning.Callback):
    """Of the other package."""


class OldData(pytorch_lightning.LightningDataModule):
    """Of the other package."""


def run_of(*options: str) -> dict[str, Any]:
    assert main(["fit", *options]) == 0
    (path,) = Path("runs").glob("*/result.json")
    row: dict[str, Any] = json.loads(path.read_text())
    return row


@pytest.mark.parametrize(
    ("model", "options", "params"),
    [  # counted by hand: a filter has 9 weights and a bias; 36 places of it, and a bias, for each of 10 classes
        ("Net", ["--model.width", "5", "--model.learning_rate", "0.01"], 5 * 10 + 5 * 360 + 10),
        ("made", [], 2 * 10 + 2 * 360 + 10),
        ("narrow", [], 3 * 10 + 3 * 360 + 10),
        ("ready", [], 64 * 10 + 10),
    ],
)
def test_a_plain_module_is_trained_as_a_classifier(
    workplace: Path, model: str, options: list[str], params: int
) -> None:
    row = run_of("--model", f"tests.cli.test_own_models.{model}", *options, *FEW)
    assert row["model"]["name"] == model
    assert row["params"] == params
    assert row["accuracy"]["test"] > 0.2


def test_its_run_is_priced_and_repeated(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = run_of("--model", "tests.cli.test_own_models.Net", "--model.width", "2", *FEW)
    capsys.readouterr()
    assert main(["profile", "--ckpt_path", "last"]) == 0
    assert f"{2 * 9 * 36 + 2 * 360:,} MACs" in capsys.readouterr().out
    (config,) = Path("runs").glob("*/config.yaml")
    assert main(["fit", "--config", str(config), "--model.width", "3", "--trainer.default_root_dir", "again"]) == 0
    (path,) = Path("again").glob("*/result.json")
    again = json.loads(path.read_text())
    assert again["model"]["init_args"]["arguments"] == {"width": 3}
    assert row["model"]["init_args"]["arguments"] == {"width": 2}


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("--model MY.Net --model.widht 3", ["Net has no option 'widht'", "Did you mean 'width'"]),
        ("--model MY.five_classes", ["its forward gives (1, 5)", "it must give (1, 10)"]),
        ("--model MY.unsaid", ["unsaid gives a LightningModule", "-> MyNet"]),
        ("--model MY.number", ["number says that it returns int"]),
        ("--model MY.FEW", ["FEW is a list"]),
        ("--model MY.Old", ["a LightningModule of the package pytorch_lightning", "import lightning.pytorch as pl"]),
        ("--trainer.callbacks+ MY.OldCallback", ["a Callback of the package pytorch_lightning"]),
        ("--data MY.OldData", ["a LightningDataModule of the package pytorch_lightning"]),
        ("--model MY.made --data.size 9", ["shapes cannot be multiplied", "(in head, Linear)"]),
    ],
)
def test_what_can_not_be_trained_is_named(
    workplace: Path, capsys: pytest.CaptureFixture[str], args: str, parts: list[str]
) -> None:
    words = args.replace("MY.", "tests.cli.test_own_models.").split()
    assert main(["fit", *FEW, *words]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    for part in parts:
        assert part in line


@pytest.mark.parametrize("model", ["made", "ready", "made_to_train"])
def test_functions_and_modules_are_priced(workplace: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    shape = "4" if model == "made_to_train" else "1,8,8"
    assert main(["profile", "--model", f"tests.cli.test_own_models.{model}", "--input_shape", shape]) == 0
    macs = {"made": 2 * 9 * 36 + 2 * 360, "ready": 640, "made_to_train": 4 * 8 + 8 * 2}[model]
    assert f"{macs:,} MACs" in capsys.readouterr().out


def test_a_configuration_names_a_plain_module(workplace: Path) -> None:
    Path("net.yaml").write_text(
        "model: {class_path: tests.cli.test_own_models.Net, init_args: {width: 3, learning_rate: 0.02}}"
    )
    row = run_of("--config", "net.yaml", "--model.ends_in", "nothing", *FEW)
    assert row["params"] == 3 * 10 + 3 * 360 + 10
    assert row["model"]["init_args"]["learning_rate"] == 0.02
    assert row["model"]["init_args"]["arguments"]["ends_in"] == "nothing"


def test_callbacks_of_the_other_package_are_those_of_this_one(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The classes have one source; a configuration of an older project names the other package."""
    stopping = "{class_path: pytorch_lightning.callbacks.EarlyStopping, init_args: {monitor: val/loss}}"
    Path("old.yaml").write_text(f"trainer: {{callbacks: [{stopping}]}}")
    timer = "--trainer.callbacks+=pytorch_lightning.callbacks.ModelSummary"
    with pytest.raises(SystemExit):
        main(["fit", "--config", "old.yaml", timer, "--print_config"])
    callbacks = yaml.safe_load(capsys.readouterr().out)["trainer"]["callbacks"]
    names = [each["class_path"] for each in callbacks]
    assert names == ["lightning.pytorch.callbacks.EarlyStopping", "lightning.pytorch.callbacks.ModelSummary"]


def test_folds_of_a_plain_module_are_named_after_it(workplace: Path) -> None:
    assert main(["fit", "--folds", "2", "--model", "tests.cli.test_own_models.made", *FEW]) == 0
    (folder,) = Path("runs").glob("*-folds")
    assert folder.name.endswith("made-Digits-2-folds")


def test_a_function_that_returns_a_lightning_module_is_trained_as_it_says(workplace: Path) -> None:
    options = ["--model", "tests.cli.test_own_models.made_to_train", "--data", "tests.foreign.MyData"]
    row = run_of(*options, "--model.width", "3", *FEW[:4])
    assert (row["model"]["name"], row["params"]) == ("MyNet", 4 * 3 + 3 + 3 * 2 + 2)


@pytest.mark.parametrize(("model", "suggested"), [("ready", True), ("normalised", False)])
def test_quantize_is_suggested_for_what_it_takes(
    workplace: Path, capsys: pytest.CaptureFixture[str], model: str, suggested: bool
) -> None:
    run_of("--model", f"tests.cli.test_own_models.{model}", *FEW)
    assert ("mcubench quantize" in capsys.readouterr().out) == suggested
    assert main(["quantize", "--ckpt_path", "best"]) == (0 if suggested else 2)


def test_softmax_before_the_loss_is_named(workplace: Path) -> None:
    words = ["--model", "tests.cli.test_own_models.Net", "--model.ends_in", "softmax", *FEW]
    with pytest.warns(UserWarning, match="Net seems to end in softmax"):
        assert main(["fit", *words]) == 0


def test_channels_that_lie_last_get_a_word(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = ["--model", "tests.cli.test_own_models.channels_last"]
    assert main(["profile", *model, "--input_shape", "8,9,1"]) == 2
    line = capsys.readouterr().err
    assert "(in 0, Conv2d)" in line
    assert "channels of a sample seem to lie last, and torch wants them first, as in 1,8,9" in line


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_wrapped_module_can_be_copied(copied: Any) -> None:
    model = Network((1, 8, 8), 10, net="tests.cli.test_own_models.Net", arguments={"width": 2})
    again = copied(model)
    assert (type(again).__name__, isinstance(again, Network)) == ("Net", True)
    x = torch.randn(3, 1, 8, 8)
    assert torch.equal(again.eval()(x), model.eval()(x))
    assert isinstance(model, lightning.LightningModule)
