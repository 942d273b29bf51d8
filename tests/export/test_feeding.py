"""Raw samples through ``model.json`` in a fresh process, without mcubench; the integer graph is the reference."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mcubench.cli.main import main
from mcubench.cli.options.quantization import Quantized
from mcubench.cli.verbs import export
from mcubench.datamodules import HAPT, MNIST, Digits, TensorDataModule
from mcubench.quant.integer.run import predict
from tests.conftest import REPOSITORY
from tests.trained import digits_run, trained

__all__ = ["digits_run"]

SCRIPT = REPOSITORY / "examples" / "run_tflite.py"
ENGINES = {"tflite_micro": "tflite_micro", "litert": "ai_edge_litert"}

pytestmark = pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed")


def engines() -> list[str]:
    return [engine for engine, package in ENGINES.items() if find_spec(package) is not None]


def exported(monkeypatch: pytest.MonkeyPatch, run: Path, *options: str) -> Quantized:
    """Exports a run, and returns what was exported."""
    made: list[Quantized] = []

    def quantized(*args: object) -> Quantized:
        made.append(original(*args))  # type: ignore[arg-type]
        return made[-1]

    original = export.quantized
    monkeypatch.setattr(export, "quantized", quantized)
    assert main(["export", "--ckpt_path", str(run), *options]) == 0
    return made[0]


def told(run: Path, raw: NDArray[np.generic], engine: str) -> list[str]:
    """The classes that the script prints."""
    np.save(run / "raw.npy", raw)
    manifest = run / "export" / "model.json"
    command = [sys.executable, str(SCRIPT), str(manifest), str(run / "raw.npy"), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=run)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def classes(data: TensorDataModule, found: Quantized, count: int | None) -> list[str]:
    """What the integer graph says of the test set, in this process."""
    x = torch.from_numpy(data.arrays("test")[0][:count].copy())
    (output,) = predict(found.integer, *found.integer.encode(x))
    return [data.class_names[index] for index in output.flatten(1).argmax(1).tolist()]


def test_the_script_imports_numpy_and_an_interpreter_only() -> None:
    tree = ast.parse(SCRIPT.read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    outermost = {name.partition(".")[0] for name in names} - sys.stdlib_module_names
    assert outermost == {"numpy", "tflite_micro", "ai_edge_litert"}


@pytest.mark.parametrize("engine", engines())
def test_raw_digits(digits_run: Path, monkeypatch: pytest.MonkeyPatch, engine: str) -> None:
    found = exported(monkeypatch, digits_run)
    data = Digits(size=8)
    raw = data.load()[1].x
    assert raw.max() > 10, "raw pixels, not scaled ones"
    ours = classes(data, found, None)
    assert told(digits_run, raw, engine) == ours
    assert len(set(ours)) > 5
    # the script would notice other constants
    manifest = digits_run / "export" / "model.json"
    card = json.loads(manifest.read_text())
    card["sample"]["scaling"]["mean"] = [0.0]
    manifest.write_text(json.dumps(card))
    assert told(digits_run, raw, engine) != ours


REAL = [
    ("CNN", "MNIST", []),
    ("MLP", "MNIST", []),
    ("CNN1d", "HAPT", []),
    ("DSCNN", "HAPT", []),
    ("MLP", "HAPT", ["--data.inputs", "features", "--data.k_best", "40"]),
    ("MLP", "HAPT", ["--data.inputs", "features", "--data.scaling", "published"]),
]


@dataclass(frozen=True)
class RealRun:
    """A run on real data that was exported: its folder, what was exported, its data, and the raw test samples."""

    run: Path
    found: Quantized
    module: TensorDataModule
    raw: NDArray[np.generic]


@pytest.fixture(scope="module", params=REAL, ids=lambda row: f"{row[0]}-{row[1]}-{'-'.join(row[2][1::2])}")
def real_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> RealRun:
    """Each is trained and exported once, whatever is then asked of it."""
    model, data, options = request.param
    short = ["--trainer.max_epochs", "-1", "--trainer.max_steps", "200"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MCUBENCH_DATA", str(real_data))
        run = trained(tmp_path_factory.mktemp("real"), "--model", model, "--data", data, *options, *short)
        found = exported(patch, run)
        module, raw = raw_samples(data, options)
    return RealRun(run, found, module, raw)


def raw_samples(data: str, options: list[str]) -> tuple[TensorDataModule, NDArray[np.generic]]:
    """A data module of these options, and its test set as it is before any scaling."""
    if data == "MNIST":
        module: TensorDataModule = MNIST()
        raw = module.load()[1].x
        assert raw.dtype == np.uint8
        assert raw.max() == 255
    else:
        features = "features" in options
        module = HAPT(
            inputs="features" if features else "raw",
            k_best=40 if "--data.k_best" in options else None,
            scaling="published" if "published" in options else "train",
        )
        raw = module.load()[1].x
        if features:
            raw = raw[:, [column.index for column in module.columns]]
    return module, raw


@pytest.mark.parametrize("count", [200, pytest.param(None, id="the whole test set")], ids=str)
@pytest.mark.slow
@pytest.mark.real_data
def test_raw_samples_of_real_data(real_run: RealRun, count: int | None) -> None:
    card = json.loads((real_run.run / "export" / "model.json").read_text())
    assert card["sample"]["units"] == real_run.module.units
    ours = classes(real_run.module, real_run.found, count)
    for engine in engines():
        theirs = told(real_run.run, real_run.raw[:count], engine)
        wrong = sum(a != b for a, b in zip(ours, theirs, strict=True))
        # LiteRT's reference kernels may differ by 1 in an output, and so in a class where two are equal
        assert wrong == 0 if engine == "tflite_micro" else wrong <= len(ours) / 200
