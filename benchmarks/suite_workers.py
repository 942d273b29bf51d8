"""Wall time of a suite with several workers over that of one process on the same cores; are its scores the same?

    python -m benchmarks.suite_workers --write docs/cluster.md
    python -m benchmarks.suite_workers --rows 2 --seeds 1 --runs 1          # a short one: two rows of each table

Both take turns, each from an empty folder, so that a machine whose speed drifts does it to both alike; data are
prepared before. One process trains with as many threads as are fastest, workers with one each, as the command line has
it: sums of floats may come out otherwise, and so rows whose scores differ are listed with both numbers of threads.
"""

from __future__ import annotations

import argparse
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.command_line import page_command, show
from benchmarks.tables import table
from mcubench.errors import UserError
from mcubench.results.result import read_result
from mcubench.suites import Suite, find_suite

SCORES = ("accuracy", "macro_f1", "other_form", "flash_bytes", "macs")

Scores = dict[str, dict[str, Any]]


def shortened(suite: Suite, rows: int | None, seeds: int | None) -> Suite:
    """The first rows of each table, and the first seeds."""
    tables = {name: dict(list(each.items())[:rows]) for name, each in suite.tables.items()}
    return Suite(suite.name, suite.seeds[:seeds], tables)


def write_suite(suite: Suite, path: Path) -> None:
    tables = {
        name: {"options": "", "rows": {row: shlex.join(words) for row, words in rows.items()}}
        for name, rows in suite.tables.items()
    }
    path.write_text(yaml.safe_dump({"seeds": list(suite.seeds), "tables": tables}, sort_keys=False), "utf-8")


def command(*words: str, folder: Path, root: Path | None) -> None:
    """Runs mcubench in a folder.

    Raises:
        UserError: If it fails.
    """
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    if root is not None:
        environment["MCUBENCH_DATA"] = str(root.absolute())
    done = subprocess.run(
        [sys.executable, "-m", "mcubench", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{shlex.join(words)} has failed: {done.stderr.strip()[-500:]}")


def measure(suite: Suite, workers: int | None, root: Path | None) -> tuple[float, Scores]:
    """Seconds from an empty folder, and what each run scores."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / f"{suite.name}.yaml"
        write_suite(suite, file)
        start = time.perf_counter()
        more = [] if workers is None else ["--workers", str(workers)]
        command("compare", "--suite", file.name, *more, folder=folder, root=root)
        seconds = time.perf_counter() - start
        results = {str(run): read_result(run.folder) for run in find_suite(str(file)).runs(folder / "runs")}
    return seconds, {run: {key: each[key] for key in (*SCORES, "threads")} for run, each in results.items()}


def differing(one: Scores, several: Scores) -> list[str]:
    """The runs whose scores differ, each with its numbers of threads."""
    return [
        f"{run} ({one[run]['threads']} and {several[run]['threads']} threads)"
        for run in one
        if any(one[run][key] != several[run][key] for key in SCORES)
    ]


def run(options: argparse.Namespace) -> int:
    suite = shortened(find_suite(options.suite), options.rows, options.seeds)
    with tempfile.TemporaryDirectory() as name:
        for rows in suite.tables.values():  # data are downloaded, and what is derived from them is cached
            words = [*next(iter(rows.values())), "--trainer.max_epochs", "1"]
            command("fit", *words, folder=Path(name), root=options.root)
    seconds: dict[int | None, list[float]] = {None: [], options.workers: []}
    differ: set[str] = set()
    for count in range(options.runs):
        found: dict[int | None, Scores] = {}
        for workers in seconds if count % 2 == 0 else reversed(seconds):
            taken, found[workers] = measure(suite, workers, options.root)
            seconds[workers].append(taken)
            print(f"{workers or 'no'} workers: {taken:.0f} s", file=sys.stderr, flush=True)
        differ.update(differing(found[None], found[options.workers]))
    fits = len(suite.seeds) * sum(map(len, suite.tables.values()))
    ratios = [several / one for one, several in zip(seconds[None], seconds[options.workers], strict=True)]
    rows = [
        (name, f"{statistics.median(each):{form}}", f"{min(each):{form}} to {max(each):{form}}")
        for name, each, form in (
            ("one process [s]", seconds[None], ".0f"),
            (f"`--workers {options.workers}` [s]", seconds[options.workers], ".0f"),
            ("ratio", ratios, ".2f"),
        )
    ]
    same = f"Scores that differ: {'; '.join(sorted(differ))}." if differ else "All scores are the same."
    what = f"{fits} fits of `{options.suite}`, {options.runs} times each, on {os.cpu_count()} cores."
    show(options, {"workers": f"{table('wall time | median: | least to most:', rows)}\n\n{what} {same}"})
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--suite", default="exercise3", help="a suite that comes along, or a YAML file")
    parser.add_argument("--workers", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--runs", type=int, default=3, help="measurements of both (default: 3)")
    parser.add_argument("--rows", type=int, help="the first rows of each table only")
    parser.add_argument("--seeds", type=int, help="the first seeds only")


if __name__ == "__main__":
    sys.exit(page_command(run, __doc__, add_options))
