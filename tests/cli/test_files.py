"""Verbs about files: what they print and write, their exit codes, and what they say of mistakes.

Figures are those of the parts that are tested by themselves: costs by hand, TFLite Micro's bytes, Keras' values.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mcubench.cli.main import MODEL_FILES, main
from mcubench.export.tflite import to_tflite
from mcubench.readers import FORMATS
from mcubench.readers.tflite import read_tflite
from tests.quant.witness import quantized, seeded
from tests.readers.same import differences
from tests.trained import digits_run

__all__ = ["digits_run"]

MACS = 6 * 6 * 4 * 2 * 9 + 36 * 5  # of the net below, by hand


@pytest.fixture(scope="module")
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5)).eval()


@pytest.fixture(scope="module")
def tflite(net: nn.Sequential) -> bytes:
    return to_tflite(quantized(net, seeded(64, 2, 8, 8)))


@pytest.fixture
def place(workplace: Path, net: nn.Sequential, tflite: bytes) -> Path:
    """A folder with the net in two formats."""
    (workplace / "net.tflite").write_bytes(tflite)
    samples = ({0: torch.export.Dim("samples", min=1, max=4096)},)
    torch.export.save(
        torch.export.export(net, (torch.zeros(2, 2, 8, 8),), dynamic_shapes=samples), workplace / "net.pt2"
    )
    return workplace


def figures(place: Path) -> Any:
    return json.loads((place / "figures.json").read_text("utf-8"))


def test_profile(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--device", "stm32f446", "--counts", "gapflow", "--json", "figures.json", "--csv", "layers.csv"]
    assert main(["profile", "net.tflite", *words]) == 0
    printed = capsys.readouterr().out
    assert f"{MACS:,} MACs" in printed
    assert f"gapflow counts {MACS + 36 * 4:,} where the convention here counts {MACS:,}: + 144 pooling" in printed
    assert "STM32F446RE: fits" in printed
    found = figures(place)
    assert (found["macs"], found["weight_bits"], found["activation_bits"]) == (MACS, 8, 8)
    assert found["devices"][0]["fits"]
    assert len((place / "layers.csv").read_text("utf-8").splitlines()) == 1 + len(found["layers"])


def test_profile_prices_a_float_file_in_float_unless_told_otherwise(place: Path) -> None:
    flash = []
    for words in ([], ["--weight_bits", "8", "--activation_bits", "8"]):
        assert main(["profile", "net.pt2", *words, "--json", "figures.json"]) == 0
        flash.append(figures(place)["flash_bytes"])
    weights, biases = 4 * 2 * 9 + 36 * 5, 4 + 5
    assert flash == [4 * (weights + biases), weights + 12 * biases]  # int32 biases, 8 bytes to rescale each channel


def test_profile_of_a_file_imports_no_lightning(place: Path) -> None:
    code = (
        "import sys; from mcubench.cli.main import main; main(['profile', 'net.tflite']); "
        "print([name for name in ('lightning', 'torch._dynamo', 'sympy', 'jsonargparse') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_quantize(place: Path, net: nn.Sequential, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quantize", "net.tflite", "--samples", "50", "--json", "figures.json"]) == 0
    assert "0 of 250 bytes of output differ" in capsys.readouterr().out
    found = figures(place)
    assert (found["different"], found["bytes"]) == (0, 250)
    assert found["arena"]["planned"] == found["arena"]["recorded"]["head"]


def test_quantize_scores_samples_of_a_file(place: Path, net: nn.Sequential) -> None:
    """The classes that float gives, so nearly all are right; values and their codes say the same."""
    x = seeded(200, 2, 8, 8, seed=1)
    with torch.no_grad():
        np.save("labels.npy", net(x).argmax(1).numpy())
    np.save("x.npy", x.permute(0, 2, 3, 1).numpy())
    accuracy = []
    for name in ("x.npy", "codes.npy"):
        if name == "codes.npy":
            from mcubench.readers import read_model

            np.save(name, read_model(Path("net.tflite")).in_integers().encode(x.permute(0, 2, 3, 1))[0].numpy())
        words = ["--inputs", name, "--labels", "labels.npy", "--json", "figures.json"]
        assert main(["quantize", "net.tflite", *words]) == 0
        accuracy.append(figures(place)["accuracy"])
    assert accuracy[0] == accuracy[1] > 0.95


def test_a_float_file_is_quantised_on_samples(
    place: Path, net: nn.Sequential, tflite: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same ranges it becomes the same integer graph as the module."""
    np.save("calibration.npy", seeded(64, 2, 8, 8).numpy())
    x = seeded(200, 2, 8, 8, seed=1)
    np.save("x.npy", x.numpy())
    with torch.no_grad():
        np.save("labels.npy", net(x).argmax(1).numpy())
    words = ["net.pt2", "--calibration", "calibration.npy"]
    assert main(["quantize", *words, "--inputs", "x.npy", "--labels", "labels.npy", "--json", "figures.json"]) == 0
    found = figures(place)
    assert (found["different"], found["bytes"]) == (0, 1000)
    assert min(found["accuracy"], found["float"]["same_class"]) > 0.95
    assert found["float"]["accuracy"] > 0.98  # of what the codes stand for, which is rounded
    assert "in float" in capsys.readouterr().out
    assert main(["export", *words, "--format", "tflite", "c"]) == 0
    written = read_tflite((place / "net_export" / "tflite" / "net.tflite").read_bytes())
    found = list(differences(written.integer, read_tflite(tflite).integer))
    assert all(".name" in each for each in found)  # of tensors: what torch.export calls them
    assert main(["emulate", *words, "--samples", "2", "--weight_bits", "4"]) == 0


def test_bytes_that_differ_are_exit_code_1(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mcubench.cli.files import quantize

    monkeypatch.setattr(quantize, "run_tflm", lambda _model, x, progress: (np.full((len(x), 5), 100, np.int8),))
    assert main(["quantize", "net.tflite", "--samples", "2"]) == 1
    assert "of 10 bytes of output differ" in capsys.readouterr().out


def test_export(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "net.tflite", "--format", "c", "tflm"]) == 0
    folder = place / "net_export"
    assert {path.name for path in (folder / "tflm").iterdir()} == {"net.h", "net.c"}
    assert {"net.h", "net.c"} <= {path.name for path in (folder / "c").iterdir()}
    (array,) = re.findall(r"unsigned char net_tflite\[\w+\] = \{([^}]*)\}", (folder / "tflm" / "net.c").read_text())
    assert bytes(map(int, array.replace(",", " ").split())) == (place / "net.tflite").read_bytes()


def test_emulate(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "net.tflite", "--core", "cortex-m4", "--samples", "3", "--json", "figures.json"]) == 0
    assert "every byte as the integer graph computes it" in capsys.readouterr().out
    assert figures(place)["macs"] == MACS


def test_parity_of_two_files(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["parity", "net.pt2", "--against", "net.tflite", "--json", "figures.json"]) == 0
    printed = capsys.readouterr().out
    assert "Conv 3x3 + relu" in printed
    assert "net.pt2 and net.tflite agree within 0.2" in printed
    found = figures(place)
    assert [row["op"] for row in found["layers"]] == ["Conv 3x3 + relu", "Dense"]
    assert found["alone"] == [[], []]
    assert 1e-4 < found["outputs"][0]["difference"]["relative"] < 0.2


def test_parity_sees_another_weight(place: Path, net: nn.Sequential, capsys: pytest.CaptureFixture[str]) -> None:
    state = {name: each.clone() for name, each in net.state_dict().items()}
    try:
        with torch.no_grad():
            net[0].weight[0, 0, 0, 0] += 0.01
        torch.export.save(torch.export.export(net, (torch.zeros(1, 2, 8, 8),)), place / "other.pt2")
    finally:
        net.load_state_dict(state)
    assert main(["parity", "net.pt2", "--against", "other.pt2"]) == 1
    assert "differ by more than 0.0001" in capsys.readouterr().out
    assert main(["parity", "net.pt2", "--against", "other.pt2", "--rtol", "0.1"]) == 0


@pytest.mark.slow
def test_parity_of_a_file_with_the_run_it_was_exported_from(
    place: Path, digits_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In float it is the same; in int8 it is near."""
    for words in (["--format", "onnx", "--float"], ["--format", "tflite"]):
        assert main(["export", "--ckpt_path", str(digits_run), *words, "--output", "made"]) == 0
    assert main(["parity", "made/model.onnx", "--against", str(digits_run), "--json", "figures.json"]) == 0
    assert figures(place)["rtol"] == 1e-4
    assert [row["other"] for row in figures(place)["layers"]] == ["layers.0", "layers.4"]
    assert main(["parity", "made/model.tflite", "--against", str(digits_run)]) == 0
    assert "agree within 0.2" in capsys.readouterr().out


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no such file": (["profile", "none.tflite"], "none.tflite can't be read: No such file or directory"),
    "no such format": (["profile", "net.bin"], "net.bin is of no format that is read; there are .tflite, .onnx"),
    "no such option": (
        ["profile", "net.tflite", "--devices", "x"],
        "there is no option --devices for a file. Did you mean",
    ),
    "no such device": (["profile", "net.tflite", "--device", "stm32"], "Unknown device 'stm32'"),
    "a word for a number": (["quantize", "net.tflite", "--samples", "x"], "--samples: invalid positive value: 'x'"),
    "no samples": (["quantize", "net.tflite", "--samples", "0"], "--samples: must be at least 1; got 0"),
    "a float file": (["quantize", "net.pt2"], "nothing in it is quantised; --calibration FILE.npy quantises it"),
    "calibration of an int8 file": (
        ["quantize", "net.tflite", "--calibration", "x.npy"],
        "net.tflite is in int8 as it is: leave out --calibration",
    ),
    "calibration of another shape": (
        ["export", "net.pt2", "--calibration", "x.npy"],
        "holds float32 of (3, 7); wanted are floats, (N, 2, 8, 8)",
    ),
    "a seed below 0": (["quantize", "net.tflite", "--seed", "-1"], "--seed: must be at least 0; got -1"),
    "no bits": (
        ["profile", "net.tflite", "--weight_bits", "0"],
        "weight_bits must be one of 1, 2, 4, 8, 16, 32; got 0",
    ),
    "values that are none": (["quantize", "net.tflite", "--inputs", "nan.npy"], "values that are not finite"),
    "an archive": (["quantize", "net.tflite", "--inputs", "x.npz"], "is an archive of arrays: give one array"),
    "labels alone": (
        ["quantize", "net.tflite", "--labels", "x.npy"],
        "--labels are the classes of --inputs: give both",
    ),
    "a pipe": (["profile", "pipe.tflite"], "pipe.tflite is no file"),
    "a file behind options": (["profile", "--device", "stm32f446", "net.tflite"], "profile net.tflite ..."),
    "no such run": (["parity", "net.pt2", "--against", "none"], "there is no file none"),
    "bits": (["export", "net.pt2", "--calibration", "x.npy", "--weight_bits", "3"], "--weight_bits must be 8, 4 or 2"),
    "another shape": (["parity", "net.pt2", "--against", "small.tflite"], "samples must have the same shape"),
    "nothing to compare": (["parity", "net.pt2"], "--against another file, best, last, or a run's folder"),
    "a folder to write": (["profile", "net.tflite", "--json", "."], "--json . is a folder; give a file"),
    "two files in one": (
        ["profile", "net.tflite", "--json", "x", "--csv", "x"],
        "every output needs a file of its own",
    ),
    "a dialect": (["export", "net.tflite", "--dialect", "avr"], "--dialect must be one of c99"),
    "a text": (["profile", "text.tflite"], "text.tflite: it is no .tflite file"),
    "samples of another shape": (["quantize", "net.tflite", "--inputs", "x.npy"], "the model takes (N, 8, 8, 2)"),
    "objects": (["quantize", "net.tflite", "--inputs", "objects.npy"], "can't be read as an array of numbers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(place: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, said = MISTAKES[name]
    small = quantized(nn.Linear(4, 2).eval(), seeded(8, 4))
    (place / "small.tflite").write_bytes(to_tflite(small))
    (place / "text.tflite").write_text("no model")
    (place / "net.bin").write_bytes(b"")
    np.save("x.npy", np.zeros((3, 7), np.float32))
    np.savez("x.npz", np.zeros((3, 7), np.float32))
    np.save("nan.npy", np.full((3, 8, 8, 2), np.nan))
    os.mkfifo("pipe.tflite")
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mcubench: error: ")
    assert said in line


def test_the_command_line_knows_the_formats() -> None:
    """It looks for them before anything is imported."""
    assert set(MODEL_FILES) == set(FORMATS)


def test_two_nodes_of_one_layer_are_compared_one_by_one(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both at one path, as of a separable convolution of Keras'; their sizes differ."""

    class Separable(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.depth, self.point = (nn.Parameter(torch.randn(shape)) for shape in ((4, 1, 3, 3), (3, 4, 1, 1)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.conv2d(nn.functional.conv2d(x, self.depth, groups=4), self.point)

    program = torch.export.export(nn.Sequential(Separable()), (torch.zeros(1, 4, 9, 9),))
    torch.export.save(program, "separable.pt2")
    assert main(["parity", "separable.pt2", "--against", "separable.pt2", "--json", "figures.json"]) == 0
    assert [(row["one"], row["shape"]) for row in figures(place)["layers"]] == [("0", [7, 7, 4]), ("0", [7, 7, 3])]


@pytest.mark.parametrize("verb", ["profile", "quantize", "export", "parity", "emulate"])
def test_help(place: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as caught:
        main([verb, "net.tflite", "--help"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert f"python -m mcubench {verb} net." in printed
    assert max(map(len, printed.splitlines())) <= 79
