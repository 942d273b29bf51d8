"""Whole processes: killed, interrupted and run in parallel, as on a real machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import forked
from tests.datamodules.test_mnist import listing

pytestmark = pytest.mark.slow

MODEL = ["--model", "DSCNN", "--model.dropout", "0.4", "--data.size", "16", "--trainer.enable_progress_bar", "false"]


def start(*args: str, **environment: str) -> forked.Process:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return forked.start(["-m", "mcubench", *args], merged=True, env=environment)


def finish(process: forked.Process, code: int = 0) -> str:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == code, out
    return out


def wait_for(condition: Callable[[], Any], process: forked.Process) -> Any:
    """Waits until the condition holds while the process runs."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    raise AssertionError("it took too long")


def last(root: Path) -> dict[str, Any] | None:
    """The last checkpoint of the one run under a root, if it is there."""
    paths = list(root.glob("*/checkpoints/last.ckpt"))
    return torch.load(paths[0], weights_only=True) if paths else None


def result(root: Path) -> dict[str, Any]:
    (path,) = root.glob("*/result.json")
    row: dict[str, Any] = json.loads(path.read_text())
    return row


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """From a process of its own from the first: what it is compared with has other hashes of strings."""
    root = tmp_path_factory.mktemp("uninterrupted")
    words = ["fit", *MODEL, "--trainer.max_epochs", "4", "--trainer.default_root_dir", str(root)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "mcubench", *words], env=environment, check=True, timeout=300)
    return root


@pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
    ids=["killed", "Ctrl-C", "terminated"],
)
def test_stopped_in_the_middle_of_an_epoch_and_resumed(
    tmp_path: Path, uninterrupted: Path, how: signal.Signals, code: int
) -> None:
    root = ["--trainer.default_root_dir", str(tmp_path)]
    process = start("fit", *MODEL, "--trainer.max_epochs", "4", "--checkpoint.every_n_train_steps", "5", *root)

    def in_the_middle_of_an_epoch() -> bool:
        checkpoint = last(tmp_path)
        return checkpoint is not None and checkpoint["global_step"] % 36 != 0

    wait_for(in_the_middle_of_an_epoch, process)
    process.send_signal(how)
    out = finish(process, code)
    stopped = last(tmp_path)
    assert stopped is not None
    step = stopped["global_step"]
    assert 0 < step < 4 * 36
    if how != signal.SIGKILL:
        assert "Stopped; saved" in out
        assert "Traceback" not in out
    finish(start("fit", "--ckpt_path", "last", *root))
    resumed, whole = last(tmp_path), last(uninterrupted)
    assert resumed is not None
    assert whole is not None
    assert resumed["global_step"] == whole["global_step"] == 4 * 36
    assert all(torch.equal(resumed["state_dict"][key], whole["state_dict"][key]) for key in whole["state_dict"])
    for scores in ("accuracy", "macro_f1", "epochs", "steps", "logged"):
        assert result(tmp_path)[scores] == result(uninterrupted)[scores]


@pytest.mark.real_data
def test_killed_while_the_cache_is_written(tmp_path: Path, real_data: Path) -> None:
    before = listing(real_data)
    root = tmp_path / "runs"
    fit = ["fit", "--model", "CNN1d", "--data", "HAPT", "--data.root", str(real_data), "--trainer.max_steps", "5",
           "--trainer.default_root_dir", str(root)]  # fmt: skip
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    cache = tmp_path / "cache" / "mcubench"
    process = start(*fit, **environment)
    wait_for(lambda: list(cache.glob(".*.tmp")), process)
    process.kill()
    finish(process, -9)
    assert not list(cache.glob("*.npy"))
    assert not list(root.rglob("*.ckpt"))
    finish(start(*fit, **environment))
    assert [path.suffix for path in cache.iterdir()] == [".npy"], "what the killed process left is swept away"
    assert result(root)["steps"] == 5
    assert listing(real_data) == before


SHARDS = """
import json, sys
from mcubench.datamodules import Arrays, TensorDataModule
import lightning.pytorch as pl, numpy as np, torch

class Numbered(TensorDataModule):
    scaled = False
    def __init__(self):
        super().__init__(batch_size=8, split="random", seed=None)
        self.input_shape, self.num_classes, self.class_names = (1,), 2, ("a", "b")
    def load(self):
        def numbers(n):
            return Arrays(np.arange(n, dtype=np.float32)[:, None], np.arange(n) % 2)
        return numbers(101), numbers(37)

class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight, self.seen = torch.nn.Parameter(torch.zeros(1)), {}
    def note(self, part, x):
        self.seen.setdefault(part, []).append(x.flatten().tolist())
    def training_step(self, batch, i):
        self.note(f"train {self.current_epoch}", batch[0])
        return (self.weight * batch[0]).sum()
    def validation_step(self, batch, i):
        self.note(f"val {self.current_epoch}", batch[0])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)
    def on_fit_end(self):
        with open(f"{sys.argv[1]}/{self.global_rank}.json", "w") as file:
            json.dump(self.seen, file)

data = Numbered()
trainer = pl.Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=2, logger=False, num_sanity_val_steps=0,
                     enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Recorder(), data)
if trainer.is_global_zero:
    train, val = (data.arrays(part)[0].ravel().tolist() for part in ("train", "val"))
    with open(f"{sys.argv[1]}/expected.json", "w") as file:
        json.dump({"train 0": train, "train 1": train, "val 0": val, "val 1": val}, file)
"""


def test_two_processes_read_disjoint_complete_shards(tmp_path: Path) -> None:
    """Not seeded: the processes have different global seeds, and must agree on one order all the same."""
    (tmp_path / "shards.py").write_text(SHARDS)
    forked.run([str(tmp_path / "shards.py"), str(tmp_path)], check=True, timeout=300)
    first, second, expected = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0", "1", "expected"))
    for part, numbers in expected.items():
        shards = [[number for batch in seen[part] for number in batch] for seen in (first, second)]
        assert len(first[part]) == len(second[part])
        assert sorted(shards[0] + shards[1]) == sorted(numbers), f"{part}: every sample once"
    assert first["train 0"] != first["train 1"], "a new order every epoch"


def test_two_processes_give_one_run(tmp_path: Path) -> None:
    parallel = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    finish(start("fit", "--trainer.max_epochs", "2", "--trainer.default_root_dir", str(tmp_path), *parallel))
    assert len(list(tmp_path.iterdir())) == 1
    row = result(tmp_path)
    assert row["steps"] == 2 * 18, "half the batches for each"
    assert row["accuracy"]["val"] == pytest.approx(row["checkpoint"]["value"], abs=1e-6)


# What neither Lightning nor a network needs. (Lightning itself brings matplotlib, scipy, sympy and torchvision.)
UNUSED = {
    *("tensorflow", "keras", "onnx", "onnxruntime", "ai_edge_litert", "tflite_micro", "skops", "tensorboard"),
    *("mcubench.baselines", "mcubench.cost.estimators", "mcubench.export", "mcubench.parity", "mcubench.suites"),
}
TRACER = {"torch.export._trace", "networkx"}

PROBE = """
import os, sys
import probed
import lightning.pytorch as pl

class Probe(pl.Callback):
    def on_train_batch_end(self, *_):
        sys.stderr.flush()
        os._exit(0)  # here, not after what Lightning does on an exit
"""


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("fit --help", UNUSED | TRACER | {"sklearn"}),
        ("fit --trainer.callbacks+=probe.Probe", UNUSED | {"sklearn.feature_selection", "sklearn.ensemble"}),
        ("profile", UNUSED | {"sklearn", "mcubench.quant"}),
    ],
    ids=["help", "first step", "profile"],
)
def test_a_verb_imports_what_it_uses(workplace: Path, command: str, unused: set[str]) -> None:
    """As python itself lists imports; `torch` stands for a list that is not empty."""
    (workplace / "probe.py").write_text(PROBE)
    (workplace / "probed.py").write_text("")  # listed, as importlib.import_module, which reads probe.py, is not
    report = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "mcubench", *command.split()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in report.stderr.splitlines()}
    assert imported & (unused | {"torch"}) == {"torch"}
    assert ("probed" in imported) == ("probe" in command)
    assert imported >= TRACER or "--help" in command


@pytest.mark.real_data
def test_a_truncated_archive_in_a_read_only_root(tmp_path: Path, real_data: Path) -> None:
    shutil.copytree(real_data / "MNIST", tmp_path / "MNIST")
    path = tmp_path / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    before = listing(tmp_path)
    runs = tmp_path.parent / f"{tmp_path.name}-runs"
    process = start("fit", "--data", "MNIST", "--data.root", str(tmp_path), "--trainer.default_root_dir", str(runs))
    out = finish(process, 2)
    assert f"mcubench: error: {path} is not the original MNIST file" in out
    assert "Traceback" not in out
    assert listing(tmp_path) == before


def test_the_installed_script_reopens_a_run_of_somebodys_model(workplace: Path) -> None:
    """Unlike python -m, a script does not look for modules in the working folder by itself."""
    script = Path(sys.executable).with_name("mcubench")
    if not script.exists():
        pytest.skip("mcubench is not installed")
    (workplace / "my_file.py").write_text(
        "from mcubench.models import MLP\n\n\nclass Mine(MLP):\n    '''A subclass in a file of its own.'''\n"
    )
    subprocess.run(
        [script, "fit", "--model", "my_file.Mine", "--trainer.max_epochs", "1"],
        check=True,
        capture_output=True,
        timeout=120,
    )
    forked.run([str(script), "test", "--ckpt_path", "last"], check=True, timeout=120)
