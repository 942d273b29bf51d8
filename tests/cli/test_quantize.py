"""``quantize`` as a user types it; scikit-learn, TFLite Micro and counts by hand are the references."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics

from mcubench.cli.main import main
from mcubench.datamodules import Digits
from mcubench.export import measure
from mcubench.export.report import changes
from mcubench.export.table import print_quantization
from mcubench.models import CNN
from mcubench.quant.integer import predict
from mcubench.results.checkpoint_io import load_checkpoint
from tests.cli.test_main import failure
from tests.trained import digits_run

__all__ = ["digits_run"]

pytest.importorskip("ai_edge_litert")
pytest.importorskip("tflite_micro")


def quantize(run: Path, *options: str) -> dict[str, Any]:
    assert main(["quantize", "--ckpt_path", str(run), "--json", "a.json", *options]) == 0
    found: dict[str, Any] = json.loads(Path("a.json").read_text())
    return found


def in_float(run: Path) -> tuple[Any, Any]:
    """Classes that the float model gives, and the true ones."""
    net = CNN((1, 8, 8), 10, channels=4)
    net.load_state_dict(load_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"])
    x, y = Digits(size=8).arrays("test")
    with torch.no_grad():
        return net.eval()(torch.tensor(x)).argmax(1).numpy(), y


def test_four_forms_in_one_table(digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = quantize(digits_run, "--plot", "noise.png")
    printed = capsys.readouterr().out
    forms = {each["name"]: each for each in report["forms"]}
    assert list(forms) == ["float", "fake-quantised", "integer graph", "TFLite Micro"]
    predicted, true = in_float(digits_run)
    assert forms["float"]["accuracy"] == metrics.accuracy_score(true, predicted)
    assert forms["float"]["macro_f1"] == pytest.approx(metrics.f1_score(true, predicted, average="macro"))
    assert {**forms["integer graph"], "name": ""} == {**forms["TFLite Micro"], "name": ""}
    assert report["mismatches"] == [0, 360 * 10]
    other = json.loads((digits_run / "result.json").read_text())["other_form"]
    assert other["form"] == "8-bit"
    assert other["accuracy"]["test"] == forms["TFLite Micro"]["accuracy"], "the fit has said it"
    assert other["macro_f1"]["test"] == pytest.approx(forms["TFLite Micro"]["macro_f1"])
    assert report["samples"] == 360
    found = report["changes"]
    assert found["count"] == found["better"] + found["worse"] + found["neither"]
    assert forms["integer graph"]["agreement"] == pytest.approx(1 - found["count"] / 360)
    gained = (found["better"] - found["worse"]) / 360
    assert forms["integer graph"]["accuracy"] - forms["float"]["accuracy"] == pytest.approx(gained)
    assert sum(each["count"] for each in found["kinds"]) == found["count"]
    assert "0 of 3,600 bytes of output differ" in printed
    assert [layer["path"] for layer in report["layers"]] == ["", "layers.0", "layers.1", "layers.4"]
    assert all(layer["sqnr"] > 15 for layer in report["layers"])
    assert Path("noise.png").read_bytes().startswith(b"\x89PNG")


def test_flash_and_ram(digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights, biases = 9 * 4 + 64 * 10, 4 + 10
    for bits in (8, 4, 2):
        report = quantize(digits_run, "--weight_bits", str(bits), "--samples", "20")
        flash, ram = report["flash"], report["ram"]
        assert flash["packed"] == weights * bits // 8
        assert flash["stored"]["weights"] == weights * max(bits, 4) // 8, "TFLite Micro reads nothing below 4 bits"
        assert flash["stored"]["biases"] == 4 * biases
        assert flash["estimate"] == weights * bits // 8 + biases * (4 + 8)
        parts = ("weights", "biases", "numbers", "metadata", "structure")
        assert flash["stored"]["file"] == sum(flash["stored"][part] for part in parts)
        activations = 8 * 8 * 4 + 4 * 4 * 4
        assert ram["estimate"] == activations
        # the weights of a layer that are narrow are unpacked before it runs
        unpacked = 4 * 4 * 4 + 16 + 64 * 10  # 10 outputs take 16 B
        assert ram["planned"] == (activations if bits == 8 else unpacked)
        assert ram["recorded"]["head"] == ram["planned"]
        assert ram["smallest"] >= ram["recorded"]["head"] + ram["recorded"]["tail"]
        printed = " ".join(capsys.readouterr().out.split())
        wider = flash["stored"]["weights"] - flash["packed"]
        assert (f"TFLite stores {wider:,} B more" in printed) == (bits == 2)


def test_a_part_of_the_test_set(digits_run: Path, workplace: Path) -> None:
    report = quantize(digits_run, "--samples", "33")
    predicted, true = in_float(digits_run)
    assert report["samples"] == 33
    assert report["forms"][0]["accuracy"] == metrics.accuracy_score(true[:33], predicted[:33])


def test_a_difference_from_tflite_micro_is_seen(
    digits_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def off_by_one(graph: Any, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        (output,) = predict(graph, *inputs)
        output[0, ..., 3] += 1 if output[0, ..., 3] < 127 else -1
        return (output,)

    monkeypatch.setattr(measure, "predict", off_by_one)
    assert quantize(digits_run, "--samples", "20")["mismatches"] == [1, 200]
    assert "1 of 200 bytes of output differ" in capsys.readouterr().out


def test_without_tflite_micro(
    digits_run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measure, "installed", lambda package: False)
    report = quantize(digits_run, "--samples", "20")
    assert len(report["forms"]) == 3
    assert (report["mismatches"], report["ram"]["recorded"], report["ram"]["smallest"]) == (None, None, None)
    assert "tflite-micro is not installed: the integer graph was not checked" in capsys.readouterr().out


def test_changes_by_hand() -> None:
    true = np.array([0, 0, 1, 1, 2, 2, 2])
    before = np.array([0, 1, 1, 1, 0, 2, 2])
    after = np.array([0, 0, 2, 2, 1, 2, 0])
    found = changes(true, before, after, {0: "a", 1: "b"})
    assert (found.better, found.worse, found.neither, found.count) == (1, 3, 1, 5)
    kinds = Counter({(each.true, each.in_float, each.in_integers): each.count for each in found.kinds})
    assert kinds == {("b", "b", "2"): 2, ("a", "b", "a"): 1, ("2", "a", "b"): 1, ("2", "2", "a"): 1}
    assert found.kinds[0].count == 2, "the most frequent comes first"
    assert changes(true, before, before, {}).kinds == ()


def test_only_a_few_kinds_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    from mcubench.export import table

    everything = changes(np.zeros(8, int), np.arange(8), np.arange(8)[::-1].copy(), {})
    table._print_changes(everything, 8, Console())
    printed = capsys.readouterr().out
    assert "8 of 8 samples change their class" in printed
    assert "and 3 other kinds" in printed
    assert print_quantization.__doc__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--weight_bits", "5"], "--weight_bits must be 8, 4 or 2; got 5"),
        (["--samples", "0"], "--samples must be at least 1; got 0"),
        (["--plot", "noise.jpg"], "its name must end in .png; got noise.jpg"),
        (["--json", "."], "--json . is a folder; give a file"),
        (["--smaples", "3"], "there is no option --smaples. Did you mean '--samples'?"),
        (
            ["--data", "null", "--model.input_shape", "[1,8,8]", "--model.num_classes", "10"],
            "name the data with --data",
        ),
    ],
)
def test_wrong_options_are_one_line(
    digits_run: Path, workplace: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert message in failure(capsys, "quantize", "--ckpt_path", str(digits_run), *options)


def test_untrained_models_are_refused(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "quantize needs a trained model" in failure(capsys, "quantize", "--model", "CNN")
