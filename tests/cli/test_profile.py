"""``profile`` as a user types it; the exercise's hand counts are the reference."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from mcubench.cli.main import main
from mcubench.cost import devices
from tests.cli.test_main import failure

# The exercise's CNN: 32 convolutions of 3 x 3 on 28 x 28, then 6272 -> 10.
MACS = 28 * 28 * 9 * 32 + 6272 * 10
PARAMS = (9 * 32 + 32) + (6272 * 10 + 10)
FLASH = 9 * 32 + 6272 * 10 + (32 + 10) * (4 + 8)
RAM = 28 * 28 * 32 + 14 * 14 * 32

MY_FILE = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, width: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.fft(x).real


class Untyped(Plain):
    def __init__(self, width):
        super().__init__(width)


class Knowing(Plain):
    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(7, 3, 8, 8)
"""


@pytest.fixture
def my_file(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of somebody's in the working folder; a name of its own, as modules are imported once."""
    name = f"my_{workplace.name.replace('-', '_')}"
    Path(f"{name}.py").write_text(MY_FILE)
    monkeypatch.syspath_prepend(str(Path.cwd()))
    return name


def test_the_exercises_net(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "CNN", "--data", "MNIST", "--json", "out/cost.json", "--csv", "cost.csv", "--plot", "ram.png"]
    assert main(["profile", *options, "--device", "stm32f446", "atmega328p"]) == 0
    printed = capsys.readouterr().out
    for number in (MACS, PARAMS, FLASH, RAM, 28 * 28 * 9 * 32, 6272 * 10):
        assert f"{number:,}" in printed
    assert "STM32F446RE: fits" in printed
    assert "ATmega328P: does not fit" in printed
    assert "biases, activations, pooling, normalisation, elementwise: 0" in printed

    report = json.loads(Path("out/cost.json").read_text())
    totals = {key: report[key] for key in ("macs", "params", "flash_bytes", "ram_bytes", "unsupported")}
    assert totals == {"macs": MACS, "params": PARAMS, "flash_bytes": FLASH, "ram_bytes": RAM, "unsupported": []}
    assert [layer["macs"] for layer in report["layers"]] == [28 * 28 * 9 * 32, 0, 6272 * 10]
    assert [each["fits"] for each in report["devices"]] == [True, False]
    with Path("cost.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["flash_bytes"]) for row in rows) == FLASH
    assert Path("ram.png").read_bytes().startswith(b"\x89PNG")


def test_it_reads_no_data(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCUBENCH_DATA", str(workplace / "nothing"))
    assert main(["profile", "--model", "DSCNN", "--data", "MNIST"]) == 0


def test_by_default_what_fit_trains(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile"]) == 0
    assert "33,348 MACs" in capsys.readouterr().out  # 784 * 42 + 42 * 10


def test_narrow_weights(workplace: Path) -> None:
    args = ["--weight_bits", "4", "--bits_per_layer", '{"layers.4": 2}', "--activation_bits", "16"]
    assert main(["profile", "--model", "CNN", "--data", "MNIST", *args, "--json", "a.json"]) == 0
    report = json.loads(Path("a.json").read_text())
    assert report["flash_bytes"] == 9 * 32 // 2 + 6272 * 10 // 4 + (32 + 10) * (4 + 8)
    assert report["ram_bytes"] == 2 * RAM


def test_any_module_without_data(my_file: str) -> None:
    options = ["--model", f"{my_file}.Plain", "--input_shape", "3,32,32", "--model.width", "5"]
    assert main(["profile", *options, "--json", "a.json"]) == 0
    report = json.loads(Path("a.json").read_text())
    assert report["macs"] == 30 * 30 * 27 * 5 + 5 * 4
    assert report["inputs"] == [[32, 32, 3]]


def test_a_module_without_types(my_file: str) -> None:
    options = ["--model", f"{my_file}.Untyped", "--model.width", "5", "--input_shape", "3,32,32", "--json", "a.json"]
    assert main(["profile", *options]) == 0
    assert json.loads(Path("a.json").read_text())["macs"] == 30 * 30 * 27 * 5 + 5 * 4


def test_a_module_that_knows_its_input(my_file: str) -> None:
    assert main(["profile", "--model", f"{my_file}.Knowing", "--json", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["macs"] == 6 * 6 * 27 * 8 + 8 * 4
    assert main(["profile", "--model", f"{my_file}.Knowing", "--input_shape", "[3,4,4]", "--json", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["macs"] == 2 * 2 * 27 * 8 + 8 * 4


def test_a_model_of_ours_takes_the_shape(workplace: Path) -> None:
    args = ["--model", "MLP", "--input_shape", "6,128", "--model.num_classes", "12", "--json", "a.json"]
    assert main(["profile", *args]) == 0
    assert json.loads(Path("a.json").read_text())["macs"] == 768 * 42 + 42 * 12


def test_what_is_unknown_is_named(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--model", f"{my_file}.Fourier", "--input_shape", "16", "--json", "a.json", "--device", "all"]
    assert main(["profile", *args]) == 0
    printed = capsys.readouterr().out
    assert "aten.fft_fft.default" in printed
    assert "Whether it fits is not known" in printed
    report = json.loads(Path("a.json").read_text())
    assert [report[key] for key in ("macs", "flash_bytes", "ram_bytes", "devices")] == [None, None, None, []]
    assert report["unsupported"][0]["op"] == "aten.fft_fft.default"


def test_all_devices(workplace: Path) -> None:
    assert main(["profile", "--device", "all", "--json", "a.json"]) == 0
    rows = json.loads(Path("a.json").read_text())["devices"]
    assert [row["device"] for row in rows] == list(devices())
    by_name = {row["device"]: row for row in rows}
    assert by_name["esp32s3"]["latency_seconds"] is None, "nobody has published its cycles for a MAC"
    assert by_name["stm32f446"]["latency_seconds"] == pytest.approx([1.4 * 33_348 / 180e6, 4.8 * 33_348 / 180e6])


def test_the_model_of_a_run(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--model.hidden", "[7]", *quiet]) == 0
    (run,) = Path("runs").iterdir()
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["profile", "--ckpt_path", "best", "--json", "a.json"]) == 0
    assert json.loads(Path("a.json").read_text())["macs"] == 784 * 7 + 7 * 10
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    result = json.loads((run / "result.json").read_text())
    assert result["macs"] == 784 * 7 + 7 * 10
    assert result["flash_bytes"] == 784 * 7 + 7 * 10 + (7 + 10) * (4 + 8)
    assert result["ram_bytes"] == 784 + 7
    assert main(["profile", "--config", str(run / "config.yaml"), "--weight_bits", "4", "--json", "b.json"]) == 0
    assert json.loads(Path("b.json").read_text())["flash_bytes"] == (784 * 7 + 7 * 10) // 2 + (7 + 10) * (4 + 8)
    assert "does not fit this model" in failure(capsys, "profile", "--ckpt_path", "best", "--model.hidden", "[8]")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--input_shape", "3,x"], "--input_shape must be the sizes of one sample, as in 3,32,32; got '3,x'"),
        (["--input_shape", "3,0"], "--input_shape must be the sizes"),
        (["--weight_bits", "3"], "weight_bits must be one of 1, 2, 4, 8, 16, 32; got 3"),
        (["--weight_bits", "0"], "weight_bits must be one of 1, 2, 4, 8, 16, 32; got 0"),
        (["--activation_bits", "0"], "activation_bits must be one of 4, 8, 16, 32; got 0"),
        (["--bits_per_layer", '{"layers.9": 4}'], "there is no layer 'layers.9' with weights"),
        (["--device", "stm32f44"], "Did you mean 'stm32f446'?"),
        (["--wieght_bits", "4"], "there is no option --wieght_bits. Did you mean '--weight_bits'?"),
        (["--model", "MPL"], "Did you mean 'MLP'?"),
        (["--model", "MLP", "--input_shape", "4"], "num_classes is not known"),
        (["--model", "CNN", "--input_shape", "4", "--model.num_classes", "2"], "CNN needs images"),
        (["--model", "CNN", "--model.chanels", "4"], "CNN has no option 'chanels'. Did you mean 'channels'?"),
        (["--weight_bits", "four"], "--weight_bits: expected int or null, got 'four'"),
        (["--json", "."], "--json . is a folder; give a file"),
        (["--json", "a", "--csv", "./a"], "every output needs a file of its own"),
        (["--plot", "ram.jpg"], "its name must end in .png; got ram.jpg"),
        (["--json", "/proc/a.json"], "--json /proc/a.json can't be written"),
        (["--ckpt_path", "best"], "there is no run"),
    ],
)
def test_wrong_options_are_one_line(
    args: list[str], message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, "profile", *args)


def test_help_names_no_class_of_torch(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "--help"])
    text = capsys.readouterr().out
    assert "--input_shape" in text
    assert "torch.nn" not in text
    assert "functools" not in text
    assert "input_shape_of(data)" in text


def test_a_wrong_shape_names_class_and_shape(my_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "profile", "--model", f"{my_file}.Plain", "--input_shape", "4,9,9")
    assert "Plain can't be traced with input (1, 4, 9, 9)" in line
    assert "expected input[1, 4, 9, 9] to have 3 channels" in line
    for data in ([], ["--data", "null"]):
        line = failure(capsys, "profile", "--model", f"{my_file}.Plain", *data)
        assert "say --input_shape 3,32,32" in line


class TestBudgetOfAFit:
    # The default net, 784-42-10.
    FLASH = 784 * 42 + 42 * 10 + (42 + 10) * (4 + 8)

    def test_one_byte_decides(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        quiet = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
        line = failure(capsys, "fit", *quiet, "--budget.flash", str(self.FLASH - 1))
        assert "MLP is over budget" in line
        assert "1 B more than" in line
        assert not list(Path("runs").glob("*")), "a refused run leaves no folder"
        assert main(["fit", *quiet, "--budget.flash", str(self.FLASH)]) == 0

    def test_stop_and_warn_are_told(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for on_exceed in ("stop", "warn"):
            quiet = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
            with pytest.warns(UserWarning, match="MLP is over budget"):
                assert main(["fit", *quiet, "--budget.flash", "1KiB", "--budget.on_exceed", on_exceed]) == 0
            printed = capsys.readouterr().out
            assert "note: " in printed
            assert "MLP is over budget" in printed
            run = max(Path("runs").iterdir())
            assert "MLP is over budget" in json.loads((run / "result.json").read_text())["notes"][0]
            assert (run / "config.yaml").exists()

    def test_widths_reach_the_result(self, workplace: Path) -> None:
        quiet = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
        assert main(["fit", *quiet, "--budget.flash", "17KiB", "--budget.weight_bits", "4"]) == 0
        (path,) = Path("runs").glob("*/result.json")
        result = json.loads(path.read_text())
        assert result["flash_bytes"] == self.FLASH - (784 * 42 + 42 * 10) // 2
        assert result["bits"] == {"weight": 4, "activation": 8}

    def test_a_wrong_size_is_one_line(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "flash must be bytes" in failure(capsys, "fit", "--budget.flash", "32KiX")
        assert "on_exceed" in failure(capsys, "fit", "--budget.on_exceed", "explode")
