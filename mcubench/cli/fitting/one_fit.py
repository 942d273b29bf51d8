"""One fit of many, each in a folder of its own, which may have been begun before."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mcubench._compat import mend_torchvision
from mcubench.cli.fitting.remarked import remarked
from mcubench.cli.fitting.run_log import RUN_LOG, printing_to
from mcubench.errors import CorruptDataError, MissingDataError, UserError
from mcubench.host_errors import DiskError
from mcubench.results.result import read_result
from mcubench.results.run_folder import shown
from mcubench.stopping import Terminated

__all__ = ["ENDS_ALL", "Outcome", "fit_one", "words_of_going_on"]

_LAST = Path("checkpoints", "last.ckpt")

# Errors after which all other fits would fail alike.
ENDS_ALL = (MissingDataError, CorruptDataError, DiskError)


@dataclass(frozen=True)
class Outcome:
    """How a fit went.

    Attributes:
        text: In a few words.
        is_done: Whether it has a result.
        ends_all: Whether all that follows would fail alike: data are missing, a disk is full.
        remarks: What it has warned of, as `remarked` takes it.
    """

    text: str
    is_done: bool = False
    ends_all: bool = False
    remarks: list[tuple[str, str | None]] = field(default_factory=list)


def fit_one(
    words: Sequence[str], folder: Path, take: Callable[[str, str | None], None] = lambda _text, _kind: None
) -> Outcome:
    """Runs a fit that has no result yet, and says in a few words how it went.

    One that was cut off goes on from its last checkpoint, if that is whole. One that failed starts anew, as what it
    failed from may have been mended since. What it prints goes to ``log.txt`` in its folder.

    Args:
        words: What follows ``fit`` on the command line.
        folder: Where it writes.
        take: Takes what it warns of, as of `remarked`.

    Raises:
        UserError: Of `ENDS_ALL`, or if the folder can't be made.
        KeyboardInterrupt: After Ctrl-C; the same fit goes on.
        Terminated: After SIGTERM, likewise.
    """
    if (folder / "result.json").is_file():  # somebody else was at it until now
        return Outcome(_scored(folder), is_done=True)
    mend_torchvision()
    from mcubench.cli.fitting.lightning import run_verb  # here, as a suite that is done needs no torch

    more = words_of_going_on(folder)
    started = time.perf_counter()
    with printing_to(folder), remarked(take):
        try:
            run_verb("fit", [*words, *more, "--trainer.enable_progress_bar", "false"], folder)
        except (*ENDS_ALL, Terminated):
            raise
        except UserError as error:
            print(error)
            return _failed(folder, str(error))
        except (Exception, SystemExit) as error:  # a mistake in somebody's model must not cost the night's other runs
            traceback.print_exc()
            return _failed(folder, f"{type(error).__name__}: {error}; {shown(folder / RUN_LOG)}")
    if not (folder / "result.json").is_file():
        why = "it left no result.json; options like --help, --print_config and fast_dev_run are not for suites"
        return _failed(folder, why)
    return Outcome(f"{_scored(folder)}, in {time.perf_counter() - started:.0f} s", is_done=True)


def words_of_going_on(folder: Path) -> list[str]:
    """The words with which a fit that was cut off goes on; none where it starts, in an empty folder, which is made.

    Args:
        folder: Of the run.

    Raises:
        UserError: If the folder can't be made.
    """
    from mcubench.results.checkpoint_io import load_state

    last = folder / _LAST
    if last.is_file():
        try:
            load_state(last)
            return [f"--ckpt_path={last}"]
        except UserError:  # damaged
            pass
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"runs can't be written to {folder}: {error.strerror}") from None
    return []


def _failed(folder: Path, why: str) -> Outcome:
    (folder / _LAST).unlink(missing_ok=True)
    return Outcome(f"failed: {why}")


def _scored(folder: Path) -> str:
    accuracy = read_result(folder)["accuracy"]["test"]
    return f"{'?' if accuracy is None else f'{100 * accuracy:.2f} %'} of the test set"
