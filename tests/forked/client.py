"""`start` and `run`, as those of ``subprocess``, for ``python`` with some words."""

from __future__ import annotations

import atexit
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import mcubench
from tests.forked import wire

__all__ = ["Process", "run", "start"]

# What most of our processes import, mcubench before all that imports torchvision; and what they import when it is used.
_MODULES = ("mcubench.callbacks", "mcubench.cli.fitting.lightning", "torch.export._trace", "sklearn.model_selection")
_SERVER = Path(__file__).with_name("server.py")
_ROOT = str(Path(mcubench.__file__).parents[1])


class Process:
    """A process that was forked from one with all imports; as a ``subprocess.Popen`` with ``text=True``.

    Attributes:
        pid: Its id.
        returncode: How it ended, once that is known; less than 0 for a signal.
    """

    def __init__(self, task: wire.Task, merged: bool, modules: tuple[str, ...]) -> None:
        self.args = [sys.executable, *task.words]
        self.returncode: int | None = None
        self._out: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with this object
        self._err: IO[str] | None = None if merged else tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._told, other = socket.socketpair()
        with other, Path(os.devnull).open() as nothing:
            out = self._out.fileno()
            err = out if self._err is None else self._err.fileno()
            wire.send(_server(modules), task, [nothing.fileno(), out, err, other.fileno()])
        self.pid = wire.receive_number(self._told)

    def poll(self) -> int | None:
        """The exit code, if it has ended."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code when it has ended.

        Raises:
            subprocess.TimeoutExpired: If it has not in so many seconds.
        """
        code = self._ended(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = wire.receive_number(self._told)
            self._told.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has written to stdout and to stderr, when it has ended; it is killed if that takes too long."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        return _read(self._out), "" if self._err is None else _read(self._err)


def _read(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def start(
    words: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    merged: bool = False,
    modules: tuple[str, ...] = (),
) -> Process:
    """Starts ``python`` with these words, and torch, lightning and mcubench imported.

    Args:
        words: As for ``python``: ``-m module ...``, ``-c code ...`` or ``script ...``.
        cwd: Where it works; here if not given.
        env: Its whole environment; that of this process if not given. ``OMP_NUM_THREADS`` is 1 whatever it says.
        merged: Stderr goes where stdout goes.
        modules: What is imported ahead besides.
    """
    task = wire.Task([str(each) for each in words], str(Path(cwd or ".").resolve()), dict(env or os.environ))
    return Process(task, merged, modules)


def run(
    words: Sequence[str], *, timeout: float, check: bool = False, cold: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end, as ``subprocess.run`` with ``capture_output`` and ``text`` does.

    Args:
        words: As for ``python``.
        timeout: How many seconds it may take.
        check: An exit code other than 0 is an error.
        cold: The process has nothing imported yet: it is one of ``subprocess.run``.
        options: Of `start`; ``cwd`` and ``env`` if it is cold.

    Raises:
        subprocess.TimeoutExpired: If it takes longer; it is killed.
        subprocess.CalledProcessError: With ``check``, if its exit code is not 0.
    """
    if cold:
        command = [sys.executable, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check, **options)
    process = start(words, **options)
    out, err = process.communicate(timeout)
    done = subprocess.CompletedProcess(process.args, process.wait(), out, err)
    if check:
        done.check_returncode()
    return done


@functools.cache
def _server(modules: tuple[str, ...]) -> socket.socket:
    """The server of this process with these imports, mcubench's from where it is here; it ends with the connection."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, str(_SERVER), str(theirs.fileno()), *_MODULES, *modules],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": _ROOT, "OMP_NUM_THREADS": "1"},
        )
    atexit.register(ours.close)
    return ours
