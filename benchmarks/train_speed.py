"""Seconds per training epoch on MNIST: what frameworks add to the arithmetic.

    python -m benchmarks.train_speed --write docs/performance.md

benchmarks/train_paths.py has the paths, from the exercise's own loop to several seeds at once. They take turns, so that
a machine whose speed drifts does it to all alike, and each counts with the number of threads that it is fastest with.
Every path starts anew, and its loss after one epoch shows that it trained.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import multiprocessing
import statistics
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.command_line import exit_code
from benchmarks.tables import table, write_tables
from benchmarks.train_paths import KERAS_PATHS, MODELS, TORCH_PATHS, Epoch, start_keras, train_keras
from mcubench.datamodules import MNIST
from mcubench.errors import UserError

BARE = "(b) bare loop over slices"
MLP_ONLY = ("(d)", "(f)")  # written by hand for it; convolutions are trained seed by seed

Case = tuple[str, str, int]


class Keras:
    """TensorFlow in processes of its own, one for each number of threads."""

    def __init__(self, threads: list[int], data: MNIST) -> None:
        spawn = multiprocessing.get_context("spawn")
        self._processes = {
            number: ProcessPoolExecutor(1, spawn, initializer=start_keras, initargs=(number,)) for number in threads
        }
        self._parts = [data.arrays("train"), data.arrays("val")]

    def epoch(self, model: str, path: str, threads: int) -> Epoch:
        """Trains one path."""
        return self._processes[threads].submit(train_keras, model, KERAS_PATHS[path], self._parts).result()

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes.values():
            process.shutdown()


def measure(case: Case, data: MNIST, keras: Keras) -> Epoch:
    model, path, threads = case
    if path in KERAS_PATHS:
        return keras.epoch(*case)
    torch.set_num_threads(threads)
    return TORCH_PATHS[path](model, data)


def rows(model: str, cases: list[Case], measured: dict[Case, list[Epoch]]) -> list[list[str]]:
    """One row a path, at its best number of threads."""

    def median(case: Case) -> float:
        return statistics.median(epoch.seconds for epoch in measured[case])

    ours = [case for case in cases if case[0] == model]
    best = {
        path: min((case for case in ours if case[1] == path), key=median) for path in dict.fromkeys(c[1] for c in ours)
    }
    bare = median(best[BARE]) if BARE in best else float("nan")
    found = []
    for path, case in best.items():
        seconds = [epoch.seconds for epoch in measured[case]]
        preparing = statistics.median(epoch.preparing for epoch in measured[case])
        found.append(
            [
                path,
                f"{case[2]}",
                f"{median(case):.3g}",
                f"{min(seconds):.3g} to {max(seconds):.3g}",
                f"{median(case) / bare:.2f}",
                f"{preparing:.1f}" if preparing else "",
                f"{measured[case][-1].loss:.3f}",
            ]
        )
    return found


def run(options: argparse.Namespace) -> int:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    paths = [path for path in (*TORCH_PATHS, *KERAS_PATHS) if path.startswith(tuple(f"({p})" for p in options.paths))]
    if not paths:
        raise UserError(f"there are the paths a to f, got {' '.join(options.paths)}")
    data = MNIST(root=options.root)
    data.setup()
    cases = [
        (model, path, threads)
        for model in options.models
        for path in sorted(paths)
        for threads in options.threads
        if model == "MLP" or not path.startswith(MLP_ONLY)
    ]
    measured: dict[Case, list[Epoch]] = {case: [] for case in cases}
    with contextlib.closing(Keras(options.threads, data)) as keras:
        for case in track(cases * options.repeats, "epochs"):
            measured[case].append(measure(case, data, keras))
    head = "path | threads: | seconds: | least to most: | of (b): | compiling [s]: | loss after one: "
    note = (
        f"Median of {options.repeats} epochs of 54,000 images in batches of 100 with Adam, paths taking turns, each "
        f"with the best of {' and '.join(map(str, options.threads))} threads."
    )
    tables = {model: f"{table(head.strip(), rows(model, cases, measured))}\n\n{note}" for model in options.models}
    if options.write:
        write_tables(options.write, {f"speed-{model}": text for model, text in tables.items()})
    else:
        for model, text in tables.items():
            print(f"{model}\n\n{text}\n")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each path (default: 5)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--paths", nargs="+", default=list("abcdef"), help="their letters (default: all)")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this file")
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
