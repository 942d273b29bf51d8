"""The least time to 99 % on MNIST's test set: the recipe of examples/mnist_99.yaml, a process for each seed.

    python -m benchmarks.mnist_99 --write docs/performance.md

Every seed is `python -m mcubench fit --config examples/mnist_99.yaml` in a process of its own, which reads the files,
trains, validates, scores all three parts and draws its plots; processes follow one another. Training is `seconds.fit`
of their `result.json`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from benchmarks.command_line import exit_code
from benchmarks.tables import interval, table, write_tables
from mcubench.errors import UserError
from mcubench.results.result import read_result

RECIPE = Path(__file__).parents[1] / "examples" / "mnist_99.yaml"


@dataclass(frozen=True)
class Run:
    """What one seed gave.

    Attributes:
        accuracy: On the test set, in percent.
        training: Seconds of training and validation.
        process: Seconds of the whole process.
    """

    accuracy: float
    training: float
    process: float


def fit(seed: int, threads: int, root: str | None) -> Run:
    """Trains once, in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--seed_everything", str(seed), "--trainer.default_root_dir", folder]
        options += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
        if root is not None:
            options += ["--data.root", root]
        begun = time.perf_counter()
        process = subprocess.run(
            [sys.executable, "-m", "mcubench", "fit", "--config", str(RECIPE), *options],
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - begun
        if process.returncode:
            raise UserError(f"the fit of seed {seed} failed: {process.stderr.strip().rpartition(chr(10))[2]}")
        (written,) = Path(folder).rglob("result.json")
        row = read_result(written.parent)
    return Run(100 * row["accuracy"]["test"], row["seconds"]["fit"], seconds)


def report(runs: list[Run], threads: int) -> str:
    """The table and what it says."""
    columns = {
        "test accuracy [%]": ([run.accuracy for run in runs], 2),
        "training [s]": ([run.training for run in runs], 1),
        "whole process [s]": ([run.process for run in runs], 1),
    }
    rows = [
        [name, interval(values, f".{digits}f"), f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"]
        for name, (values, digits) in columns.items()
    ]
    note = (
        f"Mean and 95 % interval (Student's t) of {len(runs)} seeds, a process for each, threads: {threads}. Training "
        "is with validation; the process also imports, reads the data, prices the model, scores all three parts and "
        "draws plots."
    )
    return f"{table('of a run | mean: | least: | most:', rows)}\n\n{note}"


def run(options: argparse.Namespace) -> int:
    if options.seeds < 2:
        raise UserError(f"an interval needs at least 2 seeds, got {options.seeds}")
    runs = [fit(seed, options.threads, options.root) for seed in track(range(options.seeds), "fits")]
    content = report(runs, options.threads)
    if options.write:
        write_tables(options.write, {"mnist_99": content})
    else:
        print(content)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--seeds", type=int, default=10, help="number of trainings (default: 10)")
    parser.add_argument("--threads", type=int, default=2, help="threads of each (default: 2)")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
