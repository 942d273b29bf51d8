"""What ``fit --folds`` and ``fit --seeds`` share: several fits in one process."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mcubench.cli.fitting.lightning import run_verb
from mcubench.cli.fitting.one_fit import words_of_going_on
from mcubench.cli.fitting.remarked import remarked
from mcubench.cli.fitting.run_log import RUN_LOG, printing_to
from mcubench.cli.fitting.unfinished import SeveralFits
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.results.remarks import Remarks
from mcubench.results.result import read_result
from mcubench.results.run_folder import shown
from mcubench.stopping import STOPS

__all__ = ["drop_if_refused", "fit_each", "only_asks", "short_name", "take_notes"]


def only_asks(args: Sequence[str]) -> bool:
    """Whether the words ask for help or the configuration, so that nothing is trained."""
    return any(arg.endswith("help") or arg == "-h" or arg.startswith("--print_config") for arg in args)


def short_name(path: str) -> str:
    """The name of a class, of its full path."""
    return path.rpartition(".")[2]


def fit_each(
    words: Mapping[int, list[str]], fits: SeveralFits, told: Callable[[Path, int], str], console: Console
) -> None:
    """Runs one fit after the other, each in a folder of its own, as in ``fold-0``; those that have a result are kept.

    Args:
        words: The words after ``fit`` of each, by its number.
        fits: Where the runs go; takes what the fits warn of, and the notes of their results.
        told: Takes the folder and the number of a finished fit, and gives the line that is printed of it.
        console: Where to print; it must hold its stream, for standard output is the log's while a fit runs.

    Raises:
        UserError: If a fit can't be run; those that are finished are kept.
        KeyboardInterrupt: After Ctrl-C, with finished fits kept, too.
        Terminated: After SIGTERM, likewise.
    """
    folder, what, done = fits.folder, fits.remarks.what, list[int]()
    try:
        for place, (number, each) in enumerate(words.items(), 1):
            if console.is_terminal:
                console.print(f"{what} {number}, {place} of {len(words)} ...", end="\r", highlight=False)
            run = folder / f"{what}-{number}"
            if not (run / "result.json").is_file():
                _fit_into(run, each, number, fits.remarks)
                fits.save()
            say(console, told(run, number))
            done.append(number)
    except UserError as error:
        if not done:
            raise
        raise UserError(
            f"{what} {number} of {len(words)}: {error} (finished {what}s are kept in {shown(folder)})"
        ) from error
    except STOPS:
        before = ", ".join(map(str, done))
        kept = f"; finished before it, and kept: {what} {before} in {shown(folder)}" if done else ""
        say(console, f"Stopped in {what} {number} of {len(words)}{kept}")
        raise


def _fit_into(run: Path, args: list[str], number: int, remarks: Remarks) -> None:
    """Runs one fit; what it prints goes to the log in its folder, what it warns of to the remarks, too.

    One that was interrupted goes on from its last checkpoint; without one it starts anew.

    Args:
        run: The folder, which is made; it is kept if anything was trained.
        args: The words after ``fit``.
        number: Which of the fits it is.
        remarks: Takes what it warns of, and the notes of its result.
    """
    args = [*args, *words_of_going_on(run)]
    try:
        with printing_to(run), remarked(functools.partial(remarks.add, number)):
            run_verb("fit", args, run)
    finally:
        drop_if_refused(run)
    take_notes(run, number, remarks)


def drop_if_refused(run: Path) -> None:
    """Takes the folder of a fit away that was refused before anything was trained."""
    if [path.name for path in run.iterdir()] == [RUN_LOG]:
        (run / RUN_LOG).unlink()
        run.rmdir()


def take_notes(run: Path, number: int, remarks: Remarks) -> None:
    """Adds the notes of a fit's result, if it has one, to the remarks."""
    with contextlib.suppress(OSError):
        for note in read_result(run)["notes"]:
            remarks.add(number, note)
