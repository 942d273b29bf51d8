"""``parity`` as a user types it, on the backend of Keras that this process has."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from mcubench.cli.main import main
from mcubench.cli.options.names import MODELS
from mcubench.datamodules import Digits
from mcubench.models import CNN
from mcubench.parity import ParityReport, load_keras
from mcubench.results.checkpoint_io import load_checkpoint
from tests import forked
from tests.cli.test_main import failure
from tests.conftest import REPOSITORY

pytestmark = pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")

MY_FILE = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.body = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.body(self.conv(x)).mean((2, 3)))


class Knowing(Plain):
    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(7, 3, 8, 8)


class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.fft(x).real


class Logarithm(nn.Module):
    def forward(self, x):
        return x.log()
"""
QUIET = ["--trainer.enable_progress_bar", "false", "--trainer.max_epochs", "1"]


def backend() -> str:
    return str(load_keras().backend.backend())


def parity(*args: str) -> int:
    return main(["parity", "--backend", backend(), *args])


def written(path: str = "a.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found


@pytest.fixture
def my_file(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody's in the working folder; a name of its own, as modules are imported once."""
    name = f"my_{workplace.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MY_FILE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    return name


@pytest.mark.parametrize("model", [name for name in MODELS if name not in ("CNN1d", "LeNet")])
def test_our_models_on_digits(workplace: Path, capsys: pytest.CaptureFixture[str], model: str) -> None:
    assert parity("--model", model, "--json", "a.json") == 0
    printed, report = capsys.readouterr().out, written()
    assert f"{model} agrees with Keras ({backend()}) within 0.0001 on 100 samples" in printed
    assert "samples: the first 100 of the test set of Digits" in printed
    assert report["passed"]
    second = 4 * 32 if model == "LSTM" else 0  # biases, of which Keras has one for each gate
    assert report["params"][0] == report["params"][1] + second
    assert report["macs"][0] == report["macs"][1]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("model", "data"), [("CNN", "MNIST"), ("LeNet", "MNIST"), ("CNN1d", "HAPT"), ("DSCNN", "HAPT"), ("MLP", "HAPT")]
)
def test_our_models_on_real_data(
    workplace: Path, capsys: pytest.CaptureFixture[str], real_data: Path, model: str, data: str
) -> None:
    options = ["--model", model, "--data", data, "--data.root", str(real_data), "--samples", "20"]
    assert parity(*options, "--json", "a.json") == 0
    assert f"samples: the first 20 of the test set of {data}" in capsys.readouterr().out
    assert written()["samples"] == 20


def test_a_trained_model_and_its_file(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The reference is the checkpoint's own model on the test set, without the verb."""
    assert main(["fit", "--model", "CNN", "--model.channels", "4", *QUIET]) == 0
    (run,) = Path("runs").iterdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert parity("--ckpt_path", "best", "--json", "out/a.json", "--save", "m.keras") == 0
    assert parity("--ckpt_path", str(run), "--samples", "7", "--json", "b.json") == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    printed = capsys.readouterr().out
    assert "wrote out/a.json" in printed
    assert "wrote m.keras" in printed
    assert written("b.json")["samples"] == 7
    assert written("out/a.json")["params"] == [4 * 10 + 14 * 14 * 4 * 10 + 10] * 2
    if backend() == "torch":
        pytest.skip("keras on torch can't read names with dots")
    (checkpoint,) = run.glob("**/best.ckpt")
    model = CNN((1, 28, 28), 10, channels=4).eval()
    model.load_state_dict(load_checkpoint(checkpoint)["state_dict"])
    data = Digits()
    data.setup("test")
    x = next(iter(data.test_dataloader()))[0][:9]
    with torch.no_grad():
        expected = model(x)
    found = load_keras().saving.load_model("m.keras")(x.movedim(1, -1).numpy(), training=False)
    assert torch.allclose(torch.as_tensor(found.numpy()), expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.01


def test_too_small_a_tolerance(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert parity("--model", "CNN", "--rtol", "1e-12", "--json", "a.json") == 1
    printed, report = capsys.readouterr().out, written()
    layers = [layer["path"] for layer in report["layers"]]
    first = report["first_divergence"]
    assert report["verdict"] in printed
    assert f"CNN differs from Keras ({backend()}): first at {first} (" in report["verdict"]
    assert printed.count("✗ first") == 1
    agree = [layer["agrees"] for layer in report["layers"]]
    assert agree[: layers.index(first)] == [True] * layers.index(first)
    assert not agree[layers.index(first)]
    assert not report["passed"]
    assert written()["rtol"] == 1e-12


def test_all_figures_as_json(workplace: Path) -> None:
    assert parity("--model", "MLP", "--json", "a.json") == 0
    report = written()
    fields = {field.name for field in dataclasses.fields(ParityReport)}
    assert fields | {"passed", "verdict", "first_divergence", "worst_relative_error"} <= set(report)
    assert report["model"] == "MLP"
    assert report["backend"] == backend()
    assert set(report["versions"]) == {"torch", "keras", backend()}
    assert report["params"] == [33_400, 33_400], "784 * 42 + 42 + 42 * 10 + 10"
    assert report["macs"] == [33_348, 33_348], "784 * 42 + 42 * 10"
    assert report["structure"] == []
    assert report["first_divergence"] is None
    assert [layer["params"] for layer in report["layers"]] == [[0, 0], [32_970, 32_970], [0, 0], [430, 430]]
    (output,) = report["outputs"]
    assert output["shape"] == [10]
    assert output["top1"] == 1
    assert 0 < report["worst_relative_error"] < 1e-4


def test_the_same_again(workplace: Path, my_file: str) -> None:
    """Weights and random samples come from the seed."""
    args = ["--model", f"{my_file}.Plain", "--input_shape", "3,9,9"]
    for name in ("a.json", "b.json"):
        assert parity(*args, "--json", name) == 0
    assert written("a.json") == written("b.json")
    assert parity(*args, "--json", "c.json", "--seed_everything", "1") == 0
    assert written("c.json")["outputs"] != written("a.json")["outputs"]


def test_any_module_on_random_samples(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--model", f"{my_file}.Plain", "--model.width", "5", "--input_shape", "3,9,9", "--samples", "6"]
    assert parity(*args, "--json", "a.json") == 0
    printed = capsys.readouterr().out
    assert "samples: 6 random, standard normal" in printed
    assert "\x1b" not in printed
    layers = [layer["path"] for layer in written()["layers"]]
    assert {"conv", "body.0", "body.1", "head"} <= set(layers)
    for path in layers:
        assert f"\n {path} " in printed
    assert parity("--model", f"{my_file}.Knowing", "--json", "a.json") == 0
    assert written()["layers"][0]["shape"] == [6, 6, 8]


def test_a_module_and_data_that_know_nothing_of_us(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--model", "tests.foreign.MyNet", "--data", "tests.foreign.MyStages", "--samples", "30"]
    assert parity(*args) == 0
    assert "samples: the first 30 of the test set of MyStages" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--model CN", "Did you mean 'CNN'"),
        ("--backend jax", "there is no backend 'jax' to compare with; there are tensorflow and torch"),
        ("--backend", "--backend"),
        ("--rtol 0", "--rtol must be above 0"),
        ("--rtol -1", "--rtol must be above 0"),
        ("--rtol nan", "--rtol"),
        ("--rtol tiny", "--rtol: expected float, got 'tiny'"),
        ("--samples 0", "--samples"),
        ("--samples 1.5", "--samples: expected int, got '1.5'"),
        ("--smaples 3", "there is no option --smaples. Did you mean '--samples'?"),
        ("--input_shape 3,x", "--input_shape must be the sizes of one sample"),
        ("--json .", "--json . is a folder; give a file"),
        ("--save m.h5", "its name must end in .keras; got m.h5"),
        ("--save m.keras --json ./m.keras", "every output needs a file of its own"),
        ("--json /proc/a.json", "--json /proc/a.json can't be written"),
        ("--ckpt_path best", "there is no run"),
        ("--model CNN --model.chanels 4", "CNN has no option 'chanels'. Did you mean 'channels'?"),
        ("--model MY.Plain", "there is nothing to compare on: name the data, or say --input_shape 3,32,32"),
        ("--model MY.Plain --data null", "there is nothing to compare on"),
        ("--model MY.Plain --data Digits", "Plain can't be traced with input (1, 1, 28, 28)"),
        ("--model MY.Plain --input_shape 4,9,9", "to have 3 channels"),
        ("--model MY.Fourier --input_shape 16 --json a.json", "can't be built in Keras: (root): aten.fft_fft.default"),
        ("--model MY.Logarithm --input_shape 16 --json a.json", "Logarithm gives values that are not finite"),
        ("--model tests.foreign.MyTwoInputs --input_shape 4", "missing a required argument: 'mask'"),
        ("--config nowhere.yaml", "--config nowhere.yaml: there is no such file"),
        (
            "--model tests.foreign.MyNet --data tests.foreign.MyData",
            "MyData has no test_dataloader to take samples from",
        ),
    ],
)
def test_wrong_use_is_one_line(my_file: str, capsys: pytest.CaptureFixture[str], args: str, message: str) -> None:
    words = args.replace("MY.", f"{my_file}.").split()
    assert message in failure(capsys, "parity", *([] if "--backend" in words else ["--backend", backend()]), *words)
    assert {path.name for path in Path.cwd().iterdir()} <= {f"{my_file}.py", "__pycache__"}, "nothing is written"


def test_a_checkpoint_of_another_model(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "--model.hidden", "[7]", *QUIET]) == 0
    capsys.readouterr()
    words = ["--backend", backend(), "--ckpt_path", "best", "--model.hidden", "[8]", "--json", "a.json"]
    assert "does not fit this model" in failure(capsys, "parity", *words)
    assert not Path("a.json").exists()


def test_a_backend_that_the_process_does_not_have(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    has = backend()
    other = {"tensorflow": "torch", "torch": "tensorflow"}[has]
    line = failure(capsys, "parity", "--backend", other, "--json", "a.json")
    assert f"this process has imported keras on the backend {has}, and can't change to {other}" in line
    assert not Path("a.json").exists()


def test_both_files_may_go_to_a_new_folder(workplace: Path) -> None:
    assert parity("--json", "out/a.json") == 0
    assert parity("--save", "new/m.keras") == 0


def test_a_shape_is_given_to_the_default_model(workplace: Path) -> None:
    assert parity("--input_shape", "1,8,8", "--model.num_classes", "3") == 0


def test_help(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["parity", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in ("--backend", "--rtol", "--samples", "--input_shape", "--ckpt_path", "--json", "--save", "--data"):
        assert f"\n  {option}" in text
    assert "torch.nn" not in text
    assert "Exit code 0" in text


@pytest.mark.slow
class TestProcesses:
    def run(
        self, folder: Path, *words: str, cold: bool = False, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
        environment = {**kept, "PYTHONPATH": str(REPOSITORY), **environment}
        command = ["-m", "mcubench", "parity", *words]
        return forked.run(command, cwd=folder, env=environment, timeout=300, cold=cold)

    @pytest.mark.parametrize("which", ["tensorflow", "torch"])
    def test_each_backend_without_a_word_on_stderr(self, tmp_path: Path, which: str) -> None:
        found = self.run(tmp_path, "--backend", which, "--model", "DSCNN", "--samples", "3", cold=True)
        assert found.returncode == 0, found.stdout + found.stderr
        assert f"DSCNN agrees with Keras ({which})" in found.stdout
        assert found.stderr == ""

    def test_keras_own_variable_names_the_backend(self, tmp_path: Path) -> None:
        found = self.run(tmp_path, "--samples", "3", KERAS_BACKEND="torch")
        assert "MLP agrees with Keras (torch)" in found.stdout
