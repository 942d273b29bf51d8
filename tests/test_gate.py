"""The order in which files are run and what a run ends with, against orders and sums made by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from _pytest.reports import TestReport

from tests.conftest import REPOSITORY
from tests.gate import seconds
from tests.gate.order import in_order, next_file
from tests.gate.seconds import Seconds
from tests.gate.summary import by_folder, summed

LONG, SHORT, KERAS, SWEEP = "tests/a/test_1.py", "tests/b/test_2.py", "tests/parity/test_3.py", "tests/sweeps/test_4.py"


def test_the_longest_comes_first_and_sweeps_last() -> None:
    measured = {SHORT: 1.0, LONG: 60.0, KERAS: 20.0, SWEEP: 400.0}
    assert in_order(measured, measured) == [LONG, KERAS, SHORT, SWEEP]
    assert in_order(["tests/test_new.py", LONG, SHORT], measured) == [LONG, "tests/test_new.py", SHORT], (
        "5 s unless known"
    )


@pytest.mark.parametrize(
    ("waiting", "with_keras", "expected"),
    [
        ([LONG, KERAS, SHORT, SWEEP], True, KERAS),
        ([LONG, KERAS, SHORT, SWEEP], False, LONG),
        ([KERAS, SHORT, SWEEP], False, SHORT),
        ([LONG, SHORT, SWEEP], True, LONG),
        ([KERAS, SWEEP], False, KERAS),
        ([SWEEP, "tests/sweeps/test_keras_5.py"], True, "tests/sweeps/test_keras_5.py"),
        ([SWEEP, "tests/sweeps/test_keras_5.py"], False, SWEEP),
    ],
)
def test_what_a_process_begins_next(waiting: list[str], with_keras: bool, expected: str) -> None:
    assert next_file(waiting, with_keras) == expected


def report(nodeid: str, when: str, duration: float) -> TestReport:
    return TestReport(nodeid, ("", 0, ""), {}, "passed", None, when, duration=duration)  # type: ignore[arg-type]


def test_seconds_are_summed_over_all_that_a_test_does() -> None:
    reports = [report(f"{LONG}::test_x[1]", when, 2.0) for when in ("setup", "call", "teardown")]
    others = [report(f"{LONG}::test_x[2]", "call", 1.0), report("tests/test_z.py::z", "call", 4.0)]
    found = summed([*reports, *others])
    assert found.files == {LONG: 7.0, "tests/test_z.py": 4.0}
    assert found.tests == {f"{LONG}::test_x[1]": 6.0, f"{LONG}::test_x[2]": 1.0, "tests/test_z.py::z": 4.0}
    assert by_folder({**found.files, "tests/a/other.py": 1.0}) == {"tests/a": 8.0, "tests/test_z.py": 4.0}


def test_what_is_recorded_keeps_what_did_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tests" / "gate" / "seconds.json"
    file.parent.mkdir(parents=True)
    (tmp_path / "tests" / "here.py").write_text("")
    before = {"tests/here.py": 3.0, "tests/gone.py": 9.0, "tests/ran.py": 8.0}
    file.write_text(json.dumps({"files": before, "tests": {f"{each}::test_a": 2.0 for each in before}}))
    monkeypatch.setattr(seconds, "_FILE", file)
    seconds.record(Seconds({"tests/ran.py": 1.26}, {"tests/ran.py::test_a": 0.2, "tests/ran.py::test_b": 1.06}))
    found = json.loads(file.read_text())
    assert found["files"] == {"tests/here.py": 3.0, "tests/ran.py": 1.3}
    assert found["tests"] == {"tests/here.py::test_a": 2.0, "tests/ran.py::test_b": 1.1}, "what is quick is not kept"


CRASH = """
import os

import pytest

@pytest.mark.parametrize("number", range(4))
def test_before(number):
    pass

def test_it():
    os._exit(3)

def test_behind():
    pass
"""
FINE = "import time\n\ndef test_it():\n    time.sleep(0.1)\n\ndef test_more():\n    pass\n"


@pytest.mark.slow
@pytest.mark.parametrize("crashing", [["test_b.py"], ["test_a.py", "test_d.py"], ["test_e.py"]], ids=",".join)
def test_a_process_that_crashes_ends_the_run_as_failed(tmp_path: Path, crashing: list[str]) -> None:
    """Early, in both processes, or in the last file: with the options and the order of our own runs."""
    ours = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    options = [f"addopts = {' '.join(ours['addopts'])}", f"faulthandler_timeout = {ours['faulthandler_timeout']}"]
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", "markers = slow", *options]))
    for name in ("test_a.py", "test_b.py", "test_c.py", "test_d.py", "test_e.py"):
        (tmp_path / name).write_text(CRASH if name in crashing else FINE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.gate.order", "-p", "no:nbmake", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"crashed while running '{crashing[0]}::test_it'" in done.stdout


def test_a_warning_of_torchmetrics_reaches_the_process_that_shares_out() -> None:
    """It imports the warning's class, for which torchvision must have been mended there; else the whole run crashes."""
    from torchmetrics.utilities.exceptions import TorchMetricsUserWarning

    warnings.warn("as metrics give it", TorchMetricsUserWarning, stacklevel=1)


def test_every_sweep_is_in_the_readme() -> None:
    text = (REPOSITORY / "tests" / "README.md").read_text("utf-8")
    named = {line.split("`")[1] for line in text.splitlines() if line.startswith("| `sweeps/")}
    assert named == {f"sweeps/{path.name}" for path in (REPOSITORY / "tests" / "sweeps").glob("test_*.py")}


def test_what_was_measured_is_of_files_that_are_there() -> None:
    found = seconds.measured()
    files = {*found.files, *(test.partition("::")[0] for test in found.tests)}
    assert not [file for file in files if not (REPOSITORY / file).is_file()]
