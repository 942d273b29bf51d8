"""``compare --suite``: trains what a suite plans and is not done yet, in a folder each; one by one, or by workers."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import TextColumn, TimeElapsedColumn

from mcubench.cli.fitting.one_fit import fit_one
from mcubench.cli.fitting.progress import bar_below
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.results.comparison import compare_runs, report_comparison
from mcubench.results.result import read_result
from mcubench.stopping import STOPS
from mcubench.suites import PlannedRun, Suite

if TYPE_CHECKING:
    from mcubench.cli.cluster.client import Workers

__all__ = ["run_suite"]


def run_suite(suite: Suite, root: Path, console: Console, workers: Workers | None = None) -> None:
    """Fits what is not done, and compares all that is; tables and pictures go beside the runs.

    Args:
        suite: What to run.
        root: Where the suite's folder lies, with its runs.
        console: Where to print; it must hold its stream, for standard output is the log's while a fit runs.
        workers: Who runs the fits; not given, this process.

    Raises:
        UserError: After all, if a run failed; at once, if data are missing or damaged, the result of a run that is done
            can't be read, or the disk is full.
        KeyboardInterrupt: After Ctrl-C; what is done stays done.
        Terminated: After SIGTERM, likewise.
    """
    lessons, planned = list(suite.lessons(root)), list(suite.runs(root))
    with _alone(root / suite.name):
        for run in (*lessons, *planned):
            if run.is_done:
                read_result(run.folder)  # now, not after hours of training
        if _run(lessons, root / suite.name, workers, console):
            raise UserError(
                "a teacher's run failed, as said above: nothing learns from it; the same command tries again"
            )
        failed = _run(planned, root / suite.name, workers, console)
    if done := {run.folder: (run.table, run.row) for run in planned if run.is_done}:
        report_comparison(compare_runs(done, done), root / suite.name / suite.name, console)
    if failed:
        raise UserError(
            f"{len(failed)} of {len(planned)} runs failed, as said above; the same command tries them again"
        )


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps a second process out of a suite's folder, where it would take a run in work for one that was cut off."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"runs can't be written to {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # goes with the process, however that ends
        except OSError:
            raise UserError(
                f"another process runs the suite in {folder}: wait for it, or give another --root"
            ) from None
        yield


def _run(planned: Sequence[PlannedRun], folder: Path, workers: Workers | None, console: Console) -> list[PlannedRun]:
    """Fits what is not done, with a line for each as it ends; goes on after one that fails.

    A run that was interrupted or killed has no result, and goes on from its last checkpoint. What a fit prints goes to
    ``log.txt`` in its folder. Returns the runs that failed.
    """
    waiting = [run for run in planned if not run.is_done]
    done = len(planned) - len(waiting)
    if done:
        say(console, f"{done} of {len(planned)} runs are done already", style="dim")
    failed = []
    started = time.perf_counter()
    behind = TimeElapsedColumn(), TextColumn("{task.description}", markup=False)  # the run that is in work
    with bar_below(console, *behind) as progress, contextlib.ExitStack() as ended:
        task = progress.add_task("", total=len(planned), completed=done)

        def begins(what: object) -> None:
            progress.update(task, description=str(what))

        if workers is None or not waiting:
            outcomes = _one_by_one(waiting, begins)
        else:
            outcomes = _by_workers(waiting, folder, workers, begins)
        ended.enter_context(contextlib.closing(outcomes))  # at once, not when somebody collects it
        count = done
        try:
            for run, outcome in outcomes:
                count += 1
                if not run.is_done:
                    failed.append(run)
                say(console, f"[{count:>{len(str(len(planned)))}}/{len(planned)}] {run}: {outcome}", style="")
                progress.advance(task)
        except STOPS:
            say(console, f"{count} of {len(planned)} runs are done; the same command goes on", style="")
            raise
    if waiting:
        minutes = (time.perf_counter() - started) / 60
        say(console, f"{len(waiting)} runs took {minutes:.1f} min", style="dim")
    return failed


def _one_by_one(waiting: Sequence[PlannedRun], begins: Callable[[object], None]) -> Generator[tuple[PlannedRun, str]]:
    """Fits in this process, one after the other."""
    for run in waiting:
        begins(run)
        yield run, fit_one(run.words, run.folder).text


def _by_workers(
    waiting: Sequence[PlannedRun], folder: Path, workers: Workers, begins: Callable[[object], None]
) -> Generator[tuple[PlannedRun, str]]:
    """Fits on a cluster's workers, as many at a time as there are."""
    from mcubench.cli.cluster.ordered import ordered

    begins("as many fits at a time as workers")
    fits = {run: (run.words, run.folder) for run in waiting}
    with contextlib.closing(ordered(workers, folder, fits)) as found:
        for run, outcome in found:
            yield run, outcome.text
