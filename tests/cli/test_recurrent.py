"""Recurrent models from training with rounding to a core, as a user types it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcubench.cli.main import main
from mcubench.export.interpreters import run_tflm
from mcubench.readers.tflite import read_tflite
from mcubench.results.result import read_result
from tests.cli.test_main import failure
from tests.codegen.host import WARNINGS, compiler
from tests.trained import digits_run, trained

__all__ = ["digits_run"]


def rounded(root: Path, model: str) -> Path:
    options = ("--data.size", "8", "--model.hidden", "6", "--trainer.callbacks+=QuantizationAwareTraining")
    return trained(root, "--model", model, "--data", "Digits", *options)


@pytest.fixture(scope="module", params=["GRU", "LSTM"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return rounded(tmp_path_factory.mktemp("recurrent"), request.param)


def test_to_a_core(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``quantize`` compares with TFLite Micro, ``emulate`` every byte with the integer graph."""
    figures = tmp_path / "figures.json"
    assert main(["quantize", "--ckpt_path", str(run), "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["mismatches"][0] == 0
    gates = 3 if read_result(run)["model"]["name"] == "GRU" else 4
    for options in ([], ["--stream"], ["--core", "cortex-m0+"]):
        words = ["emulate", "--ckpt_path", str(run), "--samples", "20", "--json", str(figures), *options]
        assert main(words) == 0
        assert "20 samples: every byte as the integer graph computes it" in capsys.readouterr().out
        measured, stream = json.loads(figures.read_text()), "--stream" in options
        # Eight rows of 8 pixels to the gates of 6 units, and the head; of one step, an eighth of the former.
        assert measured["macs"] == (1 if stream else 8) * gates * 6 * (8 + 6) + 6 * 10
        assert measured["state_bytes"] == (20 if stream else None)


def test_files_say_what_becomes_of_the_state(run: Path, tmp_path: Path) -> None:
    words = ["export", "--ckpt_path", str(run), "--output", str(tmp_path), "--format", "c", "tflite", "tflm"]
    assert main(words) == 0
    files = json.loads((tmp_path / "model.json").read_text())["files"]
    name = read_result(run)["model"]["name"]
    kept = name == "LSTM"
    for each in ("tflite", "tflm"):
        assert files[each]["state"]["kept_between_calls"] is kept
    assert ("call its Reset()" in (tmp_path / "model.h").read_text()) is kept
    assert files["c"]["state"] == {"kept_between_calls": False, "reset": None}
    content = (tmp_path / "model.tflite").read_bytes()
    codes = np.random.default_rng(0).integers(-128, 128, (3, 1, 8, 8)).astype(np.int8)
    assert run_tflm(content, codes)[0].shape == (3, 10)
    if kept:
        assert read_tflite(content).integer is not None


def test_a_folder_that_is_fed_step_by_step(run: Path, tmp_path: Path) -> None:
    assert main(["export", "--ckpt_path", str(run), "--output", str(tmp_path), "--format", "c", "--stream"]) == 0
    card = json.loads((tmp_path / "model.json").read_text())["files"]["c"]
    assert card["state"] == {"kept_between_calls": True, "reset": "model_reset", "bytes": 20}  # 18, in whole words
    assert card["input"]["shape"][-2:] == [1, 8]
    folder = tmp_path / "model_c"
    assert "model_step(state, arena, input, output);" in (folder / "README.md").read_text()
    subprocess.run([*compiler(), *WARNINGS, "main.c", "-o", "selftest"], cwd=folder, check=True)
    assert subprocess.run([str(folder / "selftest")], check=False).returncode == 0


def test_what_is_refused_is_one_line(
    run: Path, digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ("--output", str(tmp_path))
    line = failure(capsys, "export", "--ckpt_path", str(run), "--format", "onnx", *output)
    assert "recurrent: ONNX has no form" in line
    assert "--float" in line
    line = failure(capsys, "export", "--ckpt_path", str(run), "--format", "tflite", "--stream", *output)
    assert "--stream is for --format c" in line
    line = failure(capsys, "export", "--ckpt_path", str(digits_run), "--format", "c", "--stream", *output)
    assert "only a model with a recurrent layer can be fed step by step" in line
    assert not list(tmp_path.iterdir())
