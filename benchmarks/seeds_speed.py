"""What several seeds at once cost: seconds of a stacked epoch over those of a single run's, for ``fit --seeds``.

    python -m benchmarks.seeds_speed --seeds 8

For the MLP 784-42-10 and the CNN on MNIST and the CNN1d on HAPT, batch 100, Adam: an epoch of one seed and of all seeds
stacked, under the Trainer as ``fit`` has it, without validation. Stacking pays where the ratio is below the number of
seeds. Cases take turns, so that a machine whose speed drifts does it to all of them alike; medians are compared, at the
best number of threads of each.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import warnings
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.train_paths import trained
from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.models import CNN, MLP, Classifier, CNN1d
from mcubench.seeds import StackedClassifiers, StackedData

CASES: dict[str, tuple[type[Classifier], Callable[..., TensorDataModule]]] = {
    "MLP on MNIST": (MLP, MNIST),
    "CNN on MNIST": (CNN, MNIST),
    "CNN1d on HAPT": (CNN1d, HAPT),
}


def measure(kind: type[Classifier], data: TensorDataModule, seeds: int, threads: int, batches: float) -> float:
    """Seconds of an epoch of one seed, or of several stacked."""
    torch.set_num_threads(threads)
    models = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        models.append(kind(data.input_shape, data.num_classes))
    if seeds == 1:
        return trained(models[0], data, batches)
    return trained(StackedClassifiers(models, range(seeds)), StackedData(data, range(seeds)), batches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each case (default: 5)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--batches", type=float, default=1.0, help="share of an epoch's batches (default: all)")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options = parser.parse_args()

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    table = Table(title=f"seconds of {options.batches:g} epochs, median of {options.repeats} (minimum to maximum)")
    for heading in ("case", "threads", "one seed", f"{options.seeds} stacked", "ratio at the best threads"):
        table.add_column(heading, justify="left" if heading == "case" else "right")
    for name in options.cases:
        kind, make = CASES[name]
        data = make(batch_size=100)
        data.setup()
        cases = [(seeds, threads) for threads in options.threads for seeds in (1, options.seeds)]
        measured: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
        for case in cases * options.repeats:
            measured[case].append(measure(kind, data, *case, options.batches))
        medians = {case: statistics.median(seconds) for case, seconds in measured.items()}
        best = {seeds: min(medians[seeds, threads] for threads in options.threads) for seeds in (1, options.seeds)}
        for threads in options.threads:
            cells = [
                f"{medians[case]:.2f} ({min(measured[case]):.2f} to {max(measured[case]):.2f})"
                for case in ((1, threads), (options.seeds, threads))
            ]
            table.add_row(name, str(threads), *cells, f"{best[options.seeds] / best[1]:.2f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
