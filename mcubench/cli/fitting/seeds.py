"""``fit --seeds n``: the same fit with n seeds, all at once where that gives the same results."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mcubench.cli.fitting.by_workers import fit_each_by_workers, workers_from
from mcubench.cli.fitting.lightning import run_verb
from mcubench.cli.fitting.several import fit_each, only_asks, short_name
from mcubench.cli.fitting.stacked_fit import ObstacleError, StackedCLI, trained_together
from mcubench.cli.fitting.unfinished import several_fits
from mcubench.cli.options.counts import count_of, workers_of
from mcubench.cli.options.names import (
    configured,
    expand_names,
    find_option,
    find_options,
    named_class,
    with_defaults,
    wrapped_name,
)
from mcubench.cli.options.resume import root_of
from mcubench.console import say
from mcubench.errors import UserError
from mcubench.results.result import read_result
from mcubench.results.run_folder import shown
from mcubench.results.seeds_table import print_seeds, seed_line
from mcubench.results.several_seeds import SeedScores, SeveralSeeds

__all__ = ["run_seeds"]

_ALL_SEEDS = 2**32  # those that numpy takes


def run_seeds(args: Sequence[str]) -> None:
    """Fits with several seeds, with all else as the user has it, and prints and writes what they say together.

    Args:
        args: The words after ``fit``, ``--seeds`` among them.

    Raises:
        UserError: For every mistake in the options, the data or the configuration. Before the first training nothing
            is left on disk.
        KeyboardInterrupt: After Ctrl-C; what was trained is kept, and the same words go on. Seeds that are trained at
            once start anew.
        Terminated: After SIGTERM, likewise.
    """
    args, number, scheduler = workers_of(args)  # others may go on with what these have begun
    rest, seeds = _without_seeds(args)
    if only_asks(rest):
        run_verb("fit", [*rest, *_seed_words(seeds[0])])
        return
    model, data = _check(rest)
    console = Console(file=sys.stdout)  # the stream of now: single runs print into their logs
    rows: list[SeedScores] = []

    def told(run: Path, seed: int) -> str:
        rows.append(SeedScores.read(run, seed))
        return seed_line(rows[-1])

    workers = workers_from(number, scheduler)
    title = "-".join([model, *([data] if data else []), f"{len(seeds)}-seeds"])
    with several_fits(root_of(rest), title, args, "seed") as fits:
        folder, obstacle = fits.folder, None
        try:
            if workers is not None:
                raise ObstacleError("each is a worker's")
            make = functools.partial(StackedCLI, seeds=seeds, words=rest)
            run_verb("fit", [*rest, *_seed_words(seeds[0])], folder, make)
            for seed in seeds:
                told(folder / f"seed-{seed}", seed)
                for note in read_result(folder / f"seed-{seed}")["notes"]:
                    if note != trained_together(len(seeds)):  # which the table says in a line of its own
                        fits.remarks.add(seed, note)
        except ObstacleError as found:
            obstacle = str(found)
            what = f"{model} on {data}" if data else model
            goes_on = ", goes on" if fits.goes_on else ""
            how = f"{len(seeds)} seeds, each by itself ({obstacle}){goes_on}"
            say(console, f"{what}, {how}: {shown(folder)}", style="")
            words = {seed: [*rest, *_seed_words(seed)] for seed in seeds}
            if workers is None:
                fit_each(words, fits, told, console)
            else:
                fit_each_by_workers(words, fits, told, console, workers)
                rows.sort(key=lambda row: row.seed)
        result = SeveralSeeds(
            model=model,
            data=data,
            obstacle=obstacle,
            command=["python", "-m", "mcubench", "fit", *args],
            seeds=rows,
            notes=fits.remarks.told(),
        )
        result.save(folder)
        print_seeds(result, folder, console)


def _without_seeds(args: Sequence[str]) -> tuple[list[str], range]:
    """The other words, and the seeds: as many as ``--seeds`` says, from ``--seed_everything`` on."""
    rest, seeds = count_of("seeds", args)
    first = find_option(rest, "--seed_everything")
    if first is None:
        first = str(configured(rest).get("seed_everything", 0))
    if not first.isdecimal():
        raise UserError(f"--seeds counts up from --seed_everything, which must be a number, 0 or more; got {first}")
    if len(first) > len(str(_ALL_SEEDS)) or int(first) + seeds > _ALL_SEEDS:
        raise UserError(
            f"--seeds {seeds} from --seed_everything {first} on goes beyond {_ALL_SEEDS - 1}, the last seed"
        )
    return rest, range(int(first), int(first) + seeds)


def _seed_words(seed: int) -> list[str]:
    return [f"--seed_everything={seed}"]


def _check(args: Sequence[str]) -> tuple[str, str | None]:
    """Refuses what does not go with several seeds, and gives the names of model and data."""
    if "--folds" in {arg.partition("=")[0] for arg in args}:
        raise UserError("--seeds and --folds are two ways to run a fit several times: give one of the two")
    if find_options(args, "--ckpt_path") or configured(args).get("ckpt_path"):
        raise UserError("--seeds trains each seed from the start: leave --ckpt_path out, or go on with a single seed")
    complete = with_defaults(expand_names(args))
    model, data = (named_class(kind, complete) for kind in ("model", "data"))
    assert model is not None
    return short_name(wrapped_name(complete) or model), None if data in (None, "null") else short_name(str(data))
