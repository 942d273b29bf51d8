"""Does the search find more than chance does, with as many trials and the same rejection by price?

    python -m benchmarks.search_random [--repeats 5] [--trials 30] [--write docs/search.md]

Each repeat searches with another seed, once with the default sampler (TPE) and once at random, both without giving
trainings up. What is compared is validation accuracy, as the search sees it, of the best model within the budget.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from rich.progress import track

from benchmarks.command_line import page_command, show
from benchmarks.studies import study_in
from benchmarks.tables import interval, table
from mcubench.cli.main import main as mcubench
from mcubench.search.storage import import_optuna

_COMMAND = (
    *("search", "--model", "MLP", "--data", "HAPT", "--data.inputs", "features", "--trainer.max_epochs", "5"),
    *("--threads", "1", "--budget.flash", "2KiB", "--confirm_seeds", "0", "--pruner", "none"),
)
_SAMPLERS = ("tpe", "random")


def _best(sampler: str, seed: int, trials: int, folder: Path) -> float:
    study = folder / f"{sampler}-{seed}"
    words = [*_COMMAND, "--trials", str(trials), "--sampler", sampler, "--seed_everything", str(seed)]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = mcubench([*words, "--study", str(study)])
    if code != 0:
        raise SystemExit(f"the search of {sampler} with seed {seed} ended with exit code {code}")
    return max(row.accuracy or 0.0 for row in study_in(study).rows() if row.fits)


def run(options: argparse.Namespace) -> int:
    import_optuna()  # quiet
    with tempfile.TemporaryDirectory() as name:
        pairs = [
            [_best(sampler, seed, options.trials, Path(name)) for sampler in _SAMPLERS]
            for seed in track(range(options.repeats), description="repeats")
        ]
    rows = [
        [sampler, options.trials, interval([pair[place] for pair in pairs], scale=100)]
        for place, sampler in enumerate(_SAMPLERS)
    ]
    difference = interval([one - other for one, other in pairs], form="+.2f", scale=100)
    rows.append(["TPE minus random", "", difference])
    head = f"sampler | trials: | best validation accuracy [%], {options.repeats} repeats:"
    show(options, {"random": table(head, rows)})
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=5, help="searches with each sampler (default: 5)")
    parser.add_argument("--trials", type=int, default=30, help="models to train in each (default: 30)")


def main() -> int:
    """The command line."""
    return page_command(run, __doc__, add_options)


if __name__ == "__main__":
    sys.exit(main())
