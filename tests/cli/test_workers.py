"""``compare --suite --scheduler`` and ``--workers``: the same suite, whatever happens to its workers.

Reference: the suite in one process, and what lies on disk. One cluster of Dask's serves the whole file.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest
import torch
import yaml
from distributed import LocalCluster

import mcubench
from mcubench.baselines import DecisionTree
from mcubench.cli.cluster import client, orders
from mcubench.cli.cluster.orders import SharedMark, versions
from mcubench.cli.main import main
from mcubench.models import MLP
from tests.cli.test_main import failure

SUITE = {
    "seeds": [0, 1],
    "tables": {
        "Digits": {
            "options": "--data Digits --data.size 8",
            "rows": {
                "a tree": "--model DecisionTree --model.max_depth 3",
                "MLP [12]": "--model MLP --model.hidden [12] --trainer.max_epochs 20",
            },
        },
    },
}

# What differs between two runs of one fit: times, and the words, where it went on.
OWN = {"seconds", "command"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
    ) as made:
        yield made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's folder, from one process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        write(SUITE)
        assert main(["compare", "--suite", "small.yaml"]) == 0
    return folder / "runs" / "small"


def write(content: Any) -> None:
    Path("small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def of_rows(rows: dict[str, str], seeds: Sequence[int] = (0,)) -> Any:
    return {"seeds": list(seeds), "tables": {"Digits": {"options": "--data Digits --data.size 8", "rows": rows}}}


def without_times(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]


def assert_same(found: Path, expected: Path) -> None:
    """Two folders of suites have the same runs, with the same weights, metrics and results."""
    runs = {path.parent.relative_to(expected) for path in expected.glob("*/*/*/result.json")}
    assert {path.parent.relative_to(found) for path in found.glob("*/*/*/result.json")} == runs
    assert len(runs) == 4
    for run in runs:
        ours, theirs = (json.loads((folder / run / "result.json").read_text()) for folder in (found, expected))
        for key in theirs.keys() - OWN:
            assert ours[key] == theirs[key], (run, key)
        assert without_times(found / run / "metrics.csv") == without_times(expected / run / "metrics.csv"), run
        for name in ("last.ckpt", "best.ckpt"):
            weights = [
                torch.load(folder / run / "checkpoints" / name, weights_only=True)["state_dict"]
                for folder in (found, expected)
            ]
            assert weights[0].keys() == weights[1].keys()
            for key, value in weights[1].items():
                same = torch.equal(weights[0][key], value) if isinstance(value, torch.Tensor) else True
                assert same, (run, name, key)
    assert (found / "small.md").read_text().splitlines()[:2] == (expected / "small.md").read_text().splitlines()[:2]


class Killer(threading.Thread):
    """Kills the worker that a network is trained by as soon as that has saved its first epochs.

    Attributes:
        killed: The process, and how many epochs it had logged.
    """

    def __init__(self, suite: Path, cluster: LocalCluster) -> None:
        super().__init__(daemon=True)
        self.suite, self.cluster = suite.absolute(), cluster
        self.killed: tuple[psutil.Process, Path] | None = None

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while self.killed is None and time.monotonic() < deadline:
            for last in self.suite.glob("digits/mlp-*/seed-*/checkpoints/last.ckpt"):
                log = last.parents[1] / "log.txt"
                for worker in [each.pid for each in self.cluster.workers.values()]:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        if any(str(log) in files_of(each) for each in psutil.Process(worker).children(recursive=True)):
                            self.killed = psutil.Process(worker), log.parent
                            self.killed[0].kill()
                            return
            time.sleep(0.02)


def files_of(process: psutil.Process) -> set[str]:
    with contextlib.suppress(psutil.Error):
        return {each.path for each in process.open_files()}
    return set()


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(cluster: LocalCluster, undisturbed: Path, workplace: Path) -> None:
    """The fit goes on from its last epoch, on another worker; all rows are those of an undisturbed run."""
    write(SUITE)
    suite = Path("runs") / "small"
    killer = Killer(suite, cluster)
    killer.start()
    assert main(["compare", "--suite", "small.yaml", "--scheduler", cluster.scheduler_address]) == 0
    assert killer.killed is not None
    worker, run = killer.killed
    assert not worker.is_running()
    log = (run / "log.txt").read_text()
    assert "MLP on Digits starts" in log
    assert "MLP on Digits goes on" in log
    assert "--ckpt_path" in " ".join(json.loads((run / "result.json").read_text())["command"])
    assert_same(suite, undisturbed)
    assert {path.name for path in suite.iterdir() if path.name.startswith(".")} == {".lock"}
    assert not list(suite.glob("*/*/.*")), "locks of runs go with them"


class Environment(DecisionTree):
    """A tree that writes down what it is fitted in."""

    def on_fit_start(self) -> None:
        Path("environment.json").write_text(json.dumps({**os.environ, "threads": torch.get_num_threads()}))


@pytest.mark.slow
def test_a_fit_has_one_thread_and_none_of_what_dask_has_set(cluster: LocalCluster, workplace: Path) -> None:
    """MALLOC_TRIM_THRESHOLD_ is in the workers' environment, and makes a convolution three times as slow."""
    write(of_rows({"a tree": "--model tests.cli.test_workers.Environment"}))
    assert main(["compare", "--suite", "small.yaml", "--scheduler", cluster.scheduler_address]) == 0
    found = json.loads(Path("environment.json").read_text())
    assert found["threads"] == 1
    assert found["OMP_NUM_THREADS"] == found["LOKY_MAX_CPU_COUNT"] == "1"
    worker = psutil.Process(next(iter(cluster.workers.values())).pid).environ()
    assert "MALLOC_TRIM_THRESHOLD_" in worker or "MALLOC_TRIM_THRESHOLD_" in dask.config.get(
        "distributed.nanny.pre-spawn-environ"
    )
    assert "MALLOC_TRIM_THRESHOLD_" not in found


class Dies(MLP):
    """A model whose process is killed, as the system does where memory is short."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_what_fails_costs_no_other(cluster: LocalCluster, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does a fit whose process dies cost its worker; code that came with a configuration is not run there, too."""
    Path("own_net.py").write_text("from mcubench.models import MLP\nclass Net(MLP):\n    pass\n")
    Path("came").mkdir()
    Path("came/net.py").write_text("from mcubench.models import MLP\nclass Net(MLP):\n    pass\n")
    Path("came/config.yaml").write_text("model: came.net.Net\n")
    rows = {
        "misspelt": "--model DecisionTree --model.max_dept 3",
        "breaks": "--model tests.cli.test_suite.Breaks",
        "dies": "--model tests.cli.test_workers.Dies",
        "foreign": "--config came/config.yaml",
        "own": "--model own_net.Net --trainer.max_epochs 1",  # found where the command was started
    }
    write(of_rows(rows))
    pids = {each.pid for each in cluster.workers.values()}
    assert main(["compare", "--suite", "small.yaml", "--scheduler", cluster.scheduler_address]) == 2
    out, err = capsys.readouterr()
    assert "4 of 5 runs failed, as said above; the same command tries them again" in err
    printed = " ".join(out.split())
    assert "misspelt, seed 0: failed: DecisionTree has no option 'max_dept'. Did you mean 'max_depth'?" in printed
    assert "breaks, seed 0: failed: ZeroDivisionError: integer division or modulo by zero; runs/small/digits" in printed
    assert "dies, seed 0: failed: its process was ended by SIGKILL; there may have been too little memory" in printed
    assert "foreign, seed 0: failed: --model came.net.Net: there is no module 'came.net' here" in printed
    (done,) = Path("runs/small").glob("*/*/*/result.json")
    assert done.parts[3].startswith("own-")
    assert {each.pid for each in cluster.workers.values()} == pids


def test_missing_data_end_it_at_once(
    cluster: LocalCluster, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(of_rows({"nowhere": "--data tests.cli.test_suite.Nowhere"}, seeds=[0, 1, 2, 3]))
    line = failure(capsys, "compare", "--suite", "small.yaml", "--scheduler", cluster.scheduler_address)
    assert "nowhere, seed" in line
    assert "nowhere to be found" in line
    assert "[1/4]" not in capsys.readouterr().out


def test_a_folder_that_a_worker_does_not_see(
    cluster: LocalCluster, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where both machines have a folder of that name: the mark in it is another, or none."""
    monkeypatch.setattr(orders, "shared_mark", lambda folder: contextlib.nullcontext(SharedMark(f"{folder}/no", "1")))
    write(of_rows({"a tree": "--model DecisionTree"}))
    line = failure(capsys, "compare", "--suite", "small.yaml", "--scheduler", cluster.scheduler_address)
    assert re.search(r"worker tcp://127.0.0.1:\d+ on \S+ does not see the folder runs/small: give a --root", line)


@pytest.mark.parametrize("what", ["mcubench", "torch", "python"])
def test_a_worker_of_another_version(
    what: str,
    cluster: LocalCluster,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(orders, "versions", lambda: {**versions(), what: "0.0.1"})
    write(of_rows({"a tree": "--model DecisionTree"}))
    line = failure(capsys, "compare", "--suite", "small.yaml", "--scheduler", cluster.scheduler_address)
    assert f"has {what} {versions()[what]}, and this is 0.0.1: results would not be of the same code" in line


def test_versions_tell_sources_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest of the package's files: a commit is not known where it is installed, nor is it what has been edited."""
    monkeypatch.setattr(mcubench, "__file__", str(tmp_path / "__init__.py"))
    found = []
    for text in ("a = 1", "a = 2", "a = 1"):
        (tmp_path / "a.py").write_text(text)
        versions.cache_clear()
        found.append(versions()["mcubench"])
    versions.cache_clear()
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--workers 2", "--workers is who runs a suite's fits: give --suite with it"),
        ("--scheduler tcp://host:8786", "--scheduler is who runs a suite's fits: give --suite with it"),
        ("--suite small.yaml --workers 0", "--workers must be a number of processes, 1 to 1,000; got 0"),
        ("--suite small.yaml --workers two", "argument --workers: invalid int value: 'two'"),
        ("--suite small.yaml --scheduler host", "as in tcp://host:8786; got host"),
        ("--suite small.yaml --scheduler inproc://a:1", "as in tcp://host:8786; got inproc://a:1"),
        ("--suite small.yaml --workers 2 --scheduler tcp://host:8786", "give one of the two"),
        ("--suite small.yaml --scheduler tcp://127.0.0.1:9", "no scheduler of Dask's answers there"),
    ],
)
def test_wrong_options_are_one_line(
    args: str, message: str, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CONNECTING", 0.5)
    write(SUITE)
    assert message in failure(capsys, "compare", *args.split())
    assert not list(Path().glob("runs/small/.shared*"))


@pytest.mark.parametrize("option", ["--workers", "--scheduler"])
def test_without_dask(
    option: str, workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "distributed" else find(name))
    write(SUITE)
    line = failure(capsys, "compare", "--suite", "small.yaml", option, "1")
    assert f"{option} needs Dask, which is not installed: pip install 'mcubench[cluster]'" in line


@pytest.mark.slow
def test_a_scheduler_that_is_lost(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no workers yet, which is waited for."""
    start = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    start += ["--no-dashboard", "--scheduler-file", "scheduler.json"]
    scheduler = subprocess.Popen(start, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not Path("scheduler.json").is_file() and time.monotonic() < deadline:
            time.sleep(0.1)
        write(of_rows({"a tree": "--model DecisionTree"}))
        threading.Timer(2, scheduler.kill).start()
        address = json.loads(Path("scheduler.json").read_text())["address"]
        line = failure(capsys, "compare", "--suite", "small.yaml", "--scheduler", address)
    finally:
        scheduler.kill()
        scheduler.wait()
    assert "the scheduler does not answer any more" in line


@pytest.mark.slow
@pytest.mark.parametrize("what", ["fold", "seed"])
def test_folds_and_seeds_are_those_of_one_process(what: str, cluster: LocalCluster, workplace: Path) -> None:
    """Classical models: seeds of networks are trained at once in one process, which rounds otherwise."""
    words = ["fit", "--data.size", "8", "--model", "tests.cli.test_workers.Warns", f"--{what}s", "3"]
    assert main([*words, "--trainer.default_root_dir", "here"]) == 0
    assert main([*words, "--trainer.default_root_dir", "there", f"--scheduler={cluster.scheduler_address}"]) == 0
    here, there = (json.loads(next(Path(root).glob(f"*/{what}s.json")).read_text()) for root in ("here", "there"))
    assert any("sixes and sevens" in note and "likewise in 1, 2" in note for note in here["notes"])
    assert there["notes"] == here["notes"]
    assert "here" in here["command"]
    assert "--scheduler" not in " ".join(there["command"])
    for row, other in zip(there[f"{what}s"], here[f"{what}s"], strict=True):
        assert {**row, "seconds": None} == {**other, "seconds": None}


class Warns(DecisionTree):
    """A tree that warns."""

    def on_fit_start(self) -> None:
        warnings.warn("at sixes and sevens", stacklevel=1)


@pytest.mark.slow
def test_a_mistake_in_several_fits_leaves_nothing(
    cluster: LocalCluster, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model.hiden", "[8]", "--seeds", "3", "--scheduler", cluster.scheduler_address]
    assert "MLP has no option 'hiden'" in failure(capsys, "fit", *words)
    assert list(Path("runs").iterdir()) == []


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("fit --workers 2", "--workers is an option of fit --seeds, fit --folds and compare --suite"),
        ("test --scheduler=tcp://host:8786", "--scheduler is an option of fit --seeds"),
        ("fit --seeds 2 --workers 2 --scheduler tcp://host:8786", "give one of the two"),
        ("fit --folds 2 --workers two", "--workers must be a number of processes; got 'two'"),
        ("fit --folds 2 --workers", "--workers must be a number of processes; got ''"),
        ("fit --seeds 2 --scheduler host", "as in tcp://host:8786; got host"),
    ],
)
def test_wrong_options_of_several_fits(
    args: str, message: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in failure(capsys, *args.split())
    assert not Path("runs").exists()


@pytest.mark.slow
def _as_of_a_terminal() -> None:
    """What runs in the background of a shell inherits that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_and_what_is_done(number: signal.Signals, code: int, workplace: Path) -> None:
    """Ctrl-C as a terminal sends it: to all processes of the command. What was at work has saved, and goes on."""
    write(of_rows({"long": "--model MLP --trainer.max_epochs 100000 --trainer.max_time 00:00:02:00"}))
    run = [sys.executable, "-m", "mcubench", "compare", "--suite", "small.yaml", "--workers", "1"]
    process = subprocess.Popen(
        run,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
        preexec_fn=_as_of_a_terminal,  # noqa: PLW1509 - it sets a handler, and takes no lock
    )
    try:
        deadline = time.monotonic() + 120
        while not (found := list(Path("runs").glob("*/*/*/*/checkpoints/last.ckpt"))) and time.monotonic() < deadline:
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code
    assert "0 of 1 runs are done; the same command goes on" in out
    assert "Traceback" not in err
    assert len(children) >= 3, "a worker, what forks, and a fit"
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert "Stopped; saved" in (found[0].parents[1] / "log.txt").read_text()
