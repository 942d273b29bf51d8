"""A classical model to the device, as a user takes it there: fit, export, emulate, compare."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from mcubench.baselines import RandomForest
from mcubench.cli.main import main
from mcubench.features import HaptFeatures
from tests.baselines.cases import failure
from tests.features.recordings import read_archive

_FIT = ["fit", "--model", "RandomForest", "--model.trees", "5", "--model.max_depth", "6"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a small forest."""
    folder = tmp_path_factory.mktemp("forest")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main([*_FIT, "--data", "Digits", "--data.size", "8"]) == 0
    return folder


@pytest.fixture
def inside(run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(run)
    return next((run / "runs").iterdir())


def test_what_is_exported_is_what_is_scored(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder builds, and its self-test holds; the manifest says which form it is in."""
    assert main(["export", "--ckpt_path", "best", "--format", "c"]) == 0
    assert "RandomForestClassifier in " in capsys.readouterr().out
    manifest = json.loads((inside / "export" / "model.json").read_text())
    form = json.loads((inside / "result.json").read_text())["bits"]
    assert manifest["classical"]["estimator"] == "RandomForestClassifier"
    assert manifest["files"]["c"]["input"]["dtype"] == manifest["classical"]["form"]
    assert manifest["files"]["c"]["output"]["dtype"] == "int32"
    assert form is not None
    folder = inside / "export" / "model_c"
    if shutil.which("gcc"):
        subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "main.c", "-o", "test"], cwd=folder, check=True)
        assert subprocess.run([folder / "test"], check=False).returncode == 0


def test_it_runs_on_a_core_and_stands_in_tables(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "--ckpt_path", "best", "--samples", "40", "--core", "cortex-m0+"]) == 0
    shown = capsys.readouterr().out
    assert "40 samples: every byte as the integer graph computes it" in shown
    assert "estimated by formula" in shown
    measured = json.loads((inside / "result.json").read_text())["measured"]
    assert measured["macs"] == 0
    assert measured["instructions"] > 100
    assert main(["compare", "runs"]) == 0
    assert "instructions" in capsys.readouterr().out


def test_a_budget_is_held_against_what_was_measured(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "--ckpt_path", "best", "--samples", "2", "--budget.flash", "100"]) == 1
    assert "OVER by" in capsys.readouterr().out


_SENSED = """
#include <stdio.h>
#include "model_sensor.h"
static int32_t state[MODEL_SENSOR_STATE_BYTES / 4], memory[MODEL_SENSOR_MEMORY_BYTES / 4 + 1];
int main(void)
{
    int16_t sample[6];
    int found = -1;
    model_sensor_reset(state);
    while (fread(sample, sizeof sample, 1, stdin) == 1)
        if (model_sensor_push(state, memory, sample, &found) == 1)
            printf("%d\\n", found);
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_from_the_sensor_to_the_class(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording in int16 through features and the model in C, beside `HaptFeatures` and the scored estimator."""
    monkeypatch.chdir(tmp_path)
    words = ["--model.trees", "10", "--model.max_depth", "6", "--data", "HAPT", "--data.root", str(real_data)]
    assert main(["fit", "--model", "RandomForest", *words, "--data.inputs", "features", "--data.k_best", "20"]) == 0
    refused = failure(capsys, "export", "--ckpt_path", "best", "--format", "c", "--gyroscope", "0")
    assert "--gyroscope must be the sensor's full scale, above 0" in refused
    assert main(["export", "--ckpt_path", "best", "--format", "c", "--accelerometer", "2", "--gyroscope", "250"]) == 0
    run = next(Path("runs").iterdir())
    folder = run / "export" / "model_c"
    (folder / "sensed.c").write_text(_SENSED)
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined"]
    sources = ["sensed.c", "model.c", "model_features.c", "model_sensor.c"]
    subprocess.run(["gcc", *flags, *sources, "-o", "sensed"], cwd=folder, check=True)
    units = np.repeat([2 / 2**15, math.radians(250) / 2**15], 3)
    samples = np.rint(read_archive(real_data, {61}).samples[61] / units).clip(-(2**15), 2**15 - 1).astype(np.int16)
    done = subprocess.run([folder / "sensed"], input=samples.tobytes(), capture_output=True, check=True)
    model = RandomForest.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True)
    sample = json.loads((run / "export" / "model.json").read_text())["sample"]
    low, high = (np.array(sample["scaling"][end]) for end in ("minimum", "maximum"))
    rows = HaptFeatures(sample["features"]).push(samples * units)
    expected = model.rounded.predict((2 * (rows - low) / (high - low) - 1).astype(np.float32))
    found = np.array([int(each) for each in done.stdout.split()])
    assert len(found) == len(rows) > 100
    assert (found != expected).sum() <= 1, "float32 may bring one window over a threshold"


def test_formats_of_networks_and_their_options_are_refused(inside: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert inside.is_dir()
    found = failure(capsys, "export", "--ckpt_path", "best")
    assert "RandomForest is a classical model, and tflite holds networks: use --format c" in found
    found = failure(capsys, "export", "--ckpt_path", "best", "--format", "c", "--weight_bits", "4")
    assert "--weight_bits is for networks: RandomForest is scored in int" in found
    found = failure(capsys, "export", "--ckpt_path", "best", "--format", "c", "--stream")
    assert "step" in found


def test_what_has_no_arithmetic_on_a_device_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--model.estimator", "sklearn.naive_bayes.BernoulliNB", "--model.arguments", "{binarize: 8.0}"]
    assert main(["fit", "--model", "Sklearn", *words, "--data", "Digits", "--data.size", "8"]) == 0
    capsys.readouterr()
    found = failure(capsys, "export", "--ckpt_path", "best", "--format", "c")
    assert "export can't write Sklearn in C: no device arithmetic is known for BernoulliNB" in found
