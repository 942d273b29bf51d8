"""What ``fit --folds`` and ``fit --seeds`` have a cluster's workers do: several fits at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from mcubench.cli.fitting.several import drop_if_refused, take_notes
from mcubench.cli.fitting.unfinished import SeveralFits
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.results.run_folder import shown
from mcubench.stopping import STOPS

if TYPE_CHECKING:
    from mcubench.cli.cluster.client import Workers

__all__ = ["fit_each_by_workers", "workers_from"]


def workers_from(number: str | None, scheduler: str | None) -> Workers | None:
    """Who runs the fits, by the values of ``--workers`` and ``--scheduler``; ``None`` if neither is given.

    Raises:
        UserError: If there can be no such number or address.
    """
    if number is None and scheduler is None:
        return None
    from mcubench.cli.cluster.client import Workers

    if number is not None and not (number.isdecimal() and len(number) < 10):
        raise UserError(f"--workers must be a number of processes; got {number!r}")
    return Workers(None if number is None else int(number), scheduler)


def fit_each_by_workers(
    words: Mapping[int, list[str]],
    fits: SeveralFits,
    told: Callable[[Path, int], str],
    console: Console,
    workers: Workers,
) -> None:
    """Does what `several.fit_each` does, as many fits at a time as there are workers; tells those first that end first.

    Args:
        words: As there.
        fits: As there.
        told: As there.
        console: As there.
        workers: Who runs the fits.

    Raises:
        UserError: If a fit can't be run, or fails: the others are stopped. Those that are finished are kept.
        KeyboardInterrupt: After Ctrl-C, likewise; the same command goes on.
        Terminated: After SIGTERM, likewise.
    """
    from mcubench.cli.cluster.ordered import ordered

    what, done = fits.remarks.what, 0
    runs = {f"{what} {number}": (number, fits.folder / f"{what}-{number}") for number in words}
    waiting = {
        name: (words[number], run) for name, (number, run) in runs.items() if not (run / "result.json").is_file()
    }
    for name, (number, run) in runs.items():
        if name not in waiting:
            say(console, told(run, number))
            done += 1
    if not waiting:
        return
    try:
        with contextlib.closing(ordered(workers, fits.folder, waiting)) as found:
            for name, outcome in found:
                number, run = runs[name]
                for text, kind in outcome.remarks:
                    fits.remarks.add(number, text, kind)
                if not (run / "result.json").is_file():
                    raise UserError(f"{name}: {outcome.text.removeprefix('failed: ')}")
                take_notes(run, number, fits.remarks)
                fits.save()
                say(console, told(run, number))
                done += 1
    except UserError as error:
        for _, run in waiting.values():
            if run.is_dir():
                drop_if_refused(run)
        kept = f" (finished {what}s are kept in {shown(fits.folder)})" if done else ""
        raise UserError(f"{error}{kept}") from error
    except STOPS:
        say(console, f"Stopped; {done} of {len(words)} {what}s are finished; the same command goes on")
        raise
