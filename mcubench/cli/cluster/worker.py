"""What a worker of Dask's does: one fit, in a process that is forked for it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import mcubench
from mcubench.cli.cluster.forks import STOP
from mcubench.cli.cluster.orders import Order, versions
from mcubench.cli.fitting.one_fit import Outcome

__all__ = ["fit_order", "is_at_work"]

_LOOK = 0.5  # seconds until it is looked whether the fit is still wanted
_ROOT = Path(mcubench.__file__).parents[1]
_START = "import sys; sys.path.append(sys.argv[1]); from mcubench.cli.cluster.forks import main; main()"

# One thread a fit: as many fits as cores are faster than any of them with several threads, and sums of floats do not
# depend on where a fit runs. Words of a fit may still say --threads.
_ONE_THREAD = {
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
    "LOKY_MAX_CPU_COUNT": "1",  # joblib's, which scikit-learn has for forests
    "GOMP_SPINCOUNT": "10000",
}

# Dask's nannies set it, so that memory goes back to the system at once. A convolution asks for as much again at every
# step, and takes three times as long.
_TRIMS = "MALLOC_TRIM_THRESHOLD_"

_own = threading.local()  # a worker may have several threads, a fit each
_at_work: set[str] = set()  # keys of tasks


def fit_order(order: Order) -> Outcome:
    """Runs a fit, in a task of Dask's; it is stopped when the task is cancelled.

    Args:
        order: What to run.
    """
    from distributed import get_worker

    worker = get_worker()
    key = str(worker.get_current_task())

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled"

    if (problem := _problem(order)) is not None:
        return Outcome(f"worker {worker.address} on {socket.gethostname()} {problem}", ends_all=True)
    if not hasattr(_own, "forks"):
        _own.forks = _Forks()
    forks: _Forks = _own.forks
    _at_work.add(key)
    try:
        return forks.outcome(order, is_wanted)
    finally:
        _at_work.discard(key)


def is_at_work(run: str) -> bool:
    """Whether this worker runs a fit, now, of those whose tasks' keys begin so."""
    return any(key.startswith(run) for key in list(_at_work))


def _problem(order: Order) -> str | None:
    """What keeps a worker from running a fit as it would run where the order comes from."""
    for what, here in versions().items():
        if order.versions.get(what) != here:
            there = order.versions.get(what, "none")
            return f"has {what} {here}, and this is {there}: results would not be of the same code; install the same"
    if not order.mark.is_seen():
        folder = Path(order.mark.path).parent
        return f"does not see the folder {folder}: give a --root that all machines share"
    if not Path(order.start).is_dir():
        return f"has no folder {order.start}: start the command in one that all machines share"
    return None


class _Forks:
    """The process that forks for each fit; another one if it was killed."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def outcome(self, order: Order, is_wanted: Callable[[], bool]) -> Outcome:
        """Has a fit run to its end, or stopped."""
        process = self.process
        if process is None or process.poll() is not None:
            process = self.process = _started()
        assert process.stdin is not None
        assert process.stdout is not None
        self._send(process, json.dumps(asdict(order)).encode() + b"\n")
        stopped = False
        while not select.select([process.stdout], [], [], _LOOK)[0]:
            if not stopped and not is_wanted():
                self._send(process, STOP)
                stopped = True
        if line := process.stdout.readline():
            return Outcome(**json.loads(line))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the fit that it was at
        return Outcome(f"failed: the process that starts fits has ended with exit code {process.wait()}")

    @staticmethod
    def _send(process: subprocess.Popen[bytes], line: bytes) -> None:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has died, which its answer tells
            process.stdin.write(line)
            process.stdin.flush()


def _environment() -> dict[str, str]:
    """That of a fit: as the worker's, without what Dask has set for itself."""
    kept = {name: value for name, value in os.environ.items() if name != _TRIMS}
    return kept | _ONE_THREAD


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - python and code of ours
        [sys.executable, "-c", _START, str(_ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=_environment(),
        process_group=0,  # Ctrl-C in a terminal is for the command, which stops its fits itself
    )
