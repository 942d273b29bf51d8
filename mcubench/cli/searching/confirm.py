"""The models of the front, trained again with other seeds, and scored on the test set: the only ones that are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from mcubench.cli.fitting.suite import run_suite
from mcubench.results.comparison.rows import mean_of
from mcubench.results.result import read_result
from mcubench.search.report import Confirmed
from mcubench.suites import Suite

__all__ = ["confirm"]

_NAME = "confirm"


def confirm(
    front: Mapping[int, Sequence[str]], data: str, seeds: Sequence[int], folder: Path, console: Console
) -> dict[int, Confirmed]:
    """Trains what is not trained yet.

    Args:
        front: What follows ``fit``, without the seed, by number of the trial.
        data: What the data are called.
        seeds: The seeds.
        folder: The study's.
        console: Where to print.

    Raises:
        UserError: If a run fails, or another process is at it.
        KeyboardInterrupt: After Ctrl-C; what is done stays done.
        Terminated: After SIGTERM, likewise.
    """
    rows = {f"trial {number}": tuple(words) for number, words in front.items()}
    suite = Suite(_NAME, tuple(seeds), {data: rows})
    run_suite(suite, folder, console)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in rows}
    for run in suite.runs(folder):
        accuracy = read_result(run.folder)["accuracy"]
        if None not in (accuracy["val"], accuracy["test"]):
            found[run.row].append((accuracy["val"], accuracy["test"]))
    return {
        number: _confirmed(scores)
        for number, scores in zip(front, found.values(), strict=True)
        if len(scores) == len(seeds)
    }


def _confirmed(scores: Sequence[tuple[float, float]]) -> Confirmed:
    validation, test = zip(*scores, strict=True)
    return Confirmed(mean_of(validation), mean_of(test), mean_of([one - other for one, other in scores]))
