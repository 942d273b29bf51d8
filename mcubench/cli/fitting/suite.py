"""``compare --suite``: trains what a suite plans and is not done yet, one fit after the other, in a folder each."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mcubench._compat import mend_torchvision
from mcubench.cli.fitting.run_log import RUN_LOG, printing_to
from mcubench.console import say
from mcubench.errors import CorruptDataError, MissingDataError, UserError
from mcubench.host_errors import DiskError
from mcubench.results.comparison import compare_runs, report_comparison
from mcubench.results.result import read_result
from mcubench.results.run_folder import shown
from mcubench.stopping import STOPS, Terminated
from mcubench.suites import PlannedRun, Suite

__all__ = ["run_suite"]


def run_suite(suite: Suite, root: Path, console: Console) -> None:
    """Fits what is not done, and compares all that is; tables and pictures go beside the runs.

    Args:
        suite: What to run.
        root: Where the suite's folder lies, with its runs.
        console: Where to print; it must hold its stream, for standard output is the log's while a fit runs.

    Raises:
        UserError: After all, if a run failed; at once, if data are missing or damaged, the result of a run that is done
            can't be read, or the disk is full.
        KeyboardInterrupt: After Ctrl-C; what is done stays done.
        Terminated: After SIGTERM, likewise.
    """
    planned = list(suite.runs(root))
    with _alone(root / suite.name):
        for run in planned:
            if run.is_done:
                read_result(run.folder)  # now, not after hours of training
        failed = _run(planned, console)
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


def _run(planned: Sequence[PlannedRun], console: Console) -> list[PlannedRun]:
    """Fits what is not done, with a line for each; goes on after one that fails.

    A run that was interrupted or killed has no result, and starts again. What a fit prints goes to ``log.txt`` in its
    folder. Returns the runs that failed.
    """
    waiting = [run for run in planned if not run.is_done]
    done = len(planned) - len(waiting)
    if done:
        say(console, f"{done} of {len(planned)} runs are done already", style="dim")
    failed = []
    started = time.perf_counter()
    with _progress(console) as progress:
        task = progress.add_task("", total=len(planned), completed=done)
        for count, run in enumerate(waiting, done + 1):
            progress.update(task, description=str(run))
            try:
                outcome = _fit(run)
            except STOPS:
                say(console, f"{count - 1} of {len(planned)} runs are done; the same command goes on", style="")
                raise
            if not run.is_done:
                failed.append(run)
            say(console, f"[{count:>{len(str(len(planned)))}}/{len(planned)}] {run}: {outcome}", style="")
            progress.advance(task)
    if waiting:
        minutes = (time.perf_counter() - started) / 60
        say(console, f"{len(waiting)} runs took {minutes:.1f} min", style="dim")
    return failed


def _progress(console: Console) -> Progress:
    """A bar below the lines, where somebody looks; the name of the run that is in work beside it."""
    return Progress(
        BarColumn(20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _fit(run: PlannedRun) -> str:
    """Fits one run, and says in a few words how it went."""
    mend_torchvision()
    from mcubench.cli.fitting.lightning import run_verb  # here, as a suite that is done needs no torch

    shutil.rmtree(run.folder, ignore_errors=True)  # an attempt that did not come to its end
    try:
        run.folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"runs can't be written to {run.folder}: {error.strerror}") from None
    started = time.perf_counter()
    with printing_to(run.folder):
        try:
            run_verb("fit", [*run.words, "--trainer.enable_progress_bar", "false"], run.folder)
        except (MissingDataError, CorruptDataError, DiskError, Terminated):
            raise  # all that follows would fail alike, or is not wanted any more
        except UserError as error:
            print(error)
            return f"failed: {error}"
        except (Exception, SystemExit) as error:  # a mistake in somebody's model must not cost the night's other runs
            traceback.print_exc()
            return f"failed: {type(error).__name__}: {error}; {shown(run.folder / RUN_LOG)}"
    if not run.is_done:
        return "failed: it left no result.json; options like --help, --print_config and fast_dev_run are not for suites"
    accuracy = read_result(run.folder)["accuracy"]["test"]
    score = "?" if accuracy is None else f"{100 * accuracy:.2f} %"
    return f"{score} of the test set, in {time.perf_counter() - started:.0f} s"
