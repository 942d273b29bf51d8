"""Processes that are forked with all imports, against those that python starts: what each says of itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked

SAYS = """
import atexit, json, os, signal, sys, threading
import beside
print(json.dumps([
    __name__, sys.argv, os.getcwd(), sys.path[0], os.environ["OWN"], sorted(os.environ), os.isatty(0), beside.__file__,
    sys.modules["__main__"].SAYS, len(dir(__builtins__)) > 9, threading.active_count(),
    signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.getsignal(signal.SIGCHLD),
    len(os.listdir("/proc/self/fd")), sys.stdin.read(),
]))
print("aside", file=sys.stderr)
atexit.register(print, "at exit")
threading.Thread(target=print, args=("a thread",)).start()
sys.exit(3)
"""


@pytest.fixture
def ctrl_c_is_heard() -> Iterator[None]:
    """Also where a shell has started this run in the background, which python's processes would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize("mode", ["-m", "-c", "script"])
def test_it_is_as_one_that_python_starts(tmp_path: Path, mode: str) -> None:
    own, elsewhere = tmp_path / "own", tmp_path / "elsewhere"
    for folder in (own, elsewhere):
        folder.mkdir()
        (folder / "beside.py").write_text("")
        (folder / "says.py").write_text(f"SAYS = 1\n{SAYS}")
    words = {"-m": ["-m", "says"], "-c": ["-c", f"SAYS = 1\n{SAYS}"], "script": [str(elsewhere / "says.py")]}[mode]
    environment = {"PATH": os.environ["PATH"], "OWN": mode, "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    ours, pythons = (
        forked.run([*words, "a word", "--option"], cwd=own, env=environment, timeout=60, cold=cold)
        for cold in (False, True)
    )
    assert json.loads(ours.stdout.splitlines()[0]) == json.loads(pythons.stdout.splitlines()[0])
    assert ours.stdout == pythons.stdout
    assert ours.stdout.endswith("a thread\nat exit\n")
    assert (ours.returncode, ours.stderr) == (pythons.returncode, pythons.stderr) == (3, "aside\n")


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        ("pass", 0, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("import os; os._exit(7)", 7, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
    ],
)
def test_how_it_ends(code: str, expected: int, said: str) -> None:
    done = forked.run(["-c", code], timeout=60)
    assert done.returncode == expected
    assert done.stderr.endswith(said)
    assert bool(done.stderr) == bool(said)
    if expected:
        with pytest.raises(subprocess.CalledProcessError):
            forked.run(["-c", code], timeout=60, check=True)


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 5), (signal.SIGKILL, -signal.SIGKILL)])
def test_signals_reach_it(tmp_path: Path, number: signal.Signals, expected: int) -> None:
    code = """
import time
from collections.abc import Iterator
try:
    with open("begun", "w"):  # not closed by the garbage collector, in which an exception would be ignored
        pass
    time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(5)
"""
    process = forked.start(["-c", code], cwd=tmp_path)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(60) == expected == process.poll()
    process.kill()  # does nothing any more


def test_it_has_its_imports_and_nothing_of_the_tests() -> None:
    done = forked.run(["-c", "import sys; print(*sys.modules)"], timeout=60)
    asked = {
        "torch",
        "lightning.pytorch",
        "mcubench.cli.fitting.lightning",
        "keras",
        "tensorflow",
        "tests",
        "pytest",
        "wire",
    }
    assert asked & set(done.stdout.split()) == {"torch", "lightning.pytorch", "mcubench.cli.fitting.lightning"}


def test_what_is_drawn_at_random_differs() -> None:
    code = "import random, numpy as np; print(random.random(), np.random.rand())"
    first, second = (forked.run(["-c", code], timeout=60).stdout.split() for _ in range(2))
    assert not set(first) & set(second)


def test_one_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    code = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(subprocess.TimeoutExpired):
        forked.run(["-c", code], cwd=tmp_path, timeout=2)
    pid = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}").exists()
