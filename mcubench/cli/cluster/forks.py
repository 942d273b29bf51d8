"""A process that has torch and all that a fit needs imported, and forks one of its own for each fit.

A worker of Dask's runs tasks in a thread beside the one that it talks to its scheduler from. A fit there would get no
signals, and could neither be stopped nor start processes for its data (Dask's are daemons); whatever it leaves behind,
from filters of warnings to memory, would meet the next one; one that holds Python's lock for long, or is killed for its
memory, would cost the worker. A process for each has none of this, and imports take longer than a tiny fit: so they are
imported once, and forked 0.2 s dearer than to fit in one process after another.

It reads a line for each fit, an `Order`, and answers with a line, its `Outcome`. ``stop`` ends the fit at work; so does
the end of the lines, with which the process itself ends: its worker has died.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import warnings
from dataclasses import asdict, replace
from io import FileIO
from pathlib import Path
from typing import NoReturn

from mcubench.cli.cluster.orders import Order, SharedMark
from mcubench.cli.fitting.one_fit import ENDS_ALL, Outcome, fit_one
from mcubench.errors import UserError

__all__ = ["GRACE", "STOP", "main"]

STOP = b"stop\n"
GRACE = 5.0  # seconds for a fit to come to the end of its step, and to save
_LOOK = 1.0  # seconds until it is looked whether a fit has died without a word
_LOCK_WAIT = 60.0  # seconds until a fit that another worker was at, and that was given up, must have ended


def main() -> NoReturn:
    """Serves until the lines end; then the process ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what stops it is the end of the lines
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _import_all()
    requests = FileIO(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    while line := requests.readline():
        if line == STOP:  # it came when the fit had ended
            continue
        outcome = _Fit(line, requests).outcome()
        with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
            answers.write(json.dumps(asdict(outcome)) + "\n")
    os._exit(0)  # torch takes itself apart for a second, which nobody waits for


def _import_all() -> None:
    """Imports what a fit needs now or later; tracing brings in what torch itself imports late."""
    from mcubench._compat import mend_torchvision

    gc.disable()
    mend_torchvision()
    import torch

    from mcubench.graph import trace

    for room in ("baselines", "cli.fitting.lightning", "datamodules", "models", "results.plots"):
        importlib.import_module(f"mcubench.{room}")

    torch.set_num_threads(1)
    trace(torch.nn.Linear(1, 1), torch.zeros(1, 1))
    gc.freeze()  # the pages that are shared with the forked stay shared
    gc.enable()


class _Fit:
    """A process that runs one fit."""

    def __init__(self, line: bytes, requests: FileIO) -> None:
        self.requests = requests
        reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            requests.close()
            _fit_and_exit(line, writer)
        os.close(writer)
        self.told = FileIO(reader, "r")

    def outcome(self) -> Outcome:
        """Waits for its end; ends it where that is asked for."""
        watched: list[FileIO] = [self.told, self.requests]
        deadline: float | None = None
        with self.told:
            while True:
                ready = select.select(watched, [], [], _LOOK)[0]
                if self.told in ready and (line := self.told.readline()):
                    os.waitpid(self.pid, 0)
                    return Outcome(**json.loads(line))
                ended, status = os.waitpid(self.pid, os.WNOHANG)
                if ended:
                    return _died(os.waitstatus_to_exitcode(status))
                if self.requests in ready:
                    self.requests.readline()  # to stop, or nothing: the worker has died
                    watched.remove(self.requests)
                    os.kill(self.pid, signal.SIGTERM)
                    deadline = time.monotonic() + GRACE
                if deadline is not None and time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)


def _died(code: int) -> Outcome:
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended with exit code {code}"
    advice = "; there may have been too little memory" if code == -signal.SIGKILL else ""
    return Outcome(f"failed: its process {how}{advice}")


def _fit_and_exit(line: bytes, writer: int) -> NoReturn:
    """What a forked process does, and no more."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    order = json.loads(line)
    outcome = _outcome(Order(**{**order, "mark": SharedMark(**order["mark"]), "words": tuple(order["words"])}))
    with os.fdopen(writer, "w") as told:
        told.write(json.dumps(asdict(outcome)) + "\n")
    sys.exit()


def _outcome(order: Order) -> Outcome:
    from mcubench.cli.options.trust import guarded
    from mcubench.cli.start_up import as_line
    from mcubench.results.lock import alone_at
    from mcubench.stopping import STOPS, terminated_as_error

    warnings.formatwarning = as_line
    folder = Path(order.folder)
    remarks: list[tuple[str, str | None]] = []
    try:
        os.chdir(order.start)
        guard = contextlib.nullcontext() if order.trusts else guarded(order.words)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with terminated_as_error(), guard, alone_at(folder.parent / f".{folder.name}.lock", _LOCK_WAIT):
            outcome = fit_one(order.words, folder, lambda text, kind: remarks.append((text, kind)))
            return replace(outcome, remarks=remarks)
    except ENDS_ALL as error:
        return Outcome(str(error), ends_all=True)
    except OSError as error:
        return Outcome(f"runs can't be written to {folder}: {error.strerror}", ends_all=True)
    except UserError as error:
        return Outcome(f"failed: {error}")
    except STOPS:
        return Outcome("stopped")
