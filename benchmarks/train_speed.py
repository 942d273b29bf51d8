"""Seconds per training epoch on MNIST: what a framework adds to the arithmetic.

    python benchmarks/train_speed.py --data-root PATH

Paths, for the MLP 784-42-10 and the CNN, batch 100, Adam with learning rate 1e-3, the 54,000 training images:

    (a) the exercise's loop over ``DataLoader(list(zip(x, y)), shuffle=True, batch_size=100)``
    (b) a bare loop over slices of a permuted copy
    (e) what ``python -m mcubench fit`` runs: Lightning, TensorLoader, metrics, callbacks, without validation

Paths take turns, so that a machine whose speed drifts does it to all of them alike; medians and ratios are printed.
Every path starts from the same weights, and its loss after the epoch is printed to show that it trained.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mcubench.callbacks import EpochTimer, LastCheckpoint, RandomState
from mcubench.datamodules import MNIST
from mcubench.models import CNN, MLP, Classifier

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed

BATCH = 100
RATE = 1e-3
MODELS: dict[str, type[Classifier]] = {"MLP": MLP, "CNN": CNN}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    """One update as the exercise writes it."""
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()
    optimizer.step()


def exercise_loop(model: Classifier, data: MNIST) -> float:
    x, y = (torch.tensor(array) for array in data.arrays("train"))
    loader = DataLoader(list(zip(x, y, strict=True)), shuffle=True, batch_size=BATCH)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    start = time.perf_counter()
    for x_batch, y_batch in loader:
        step(model, optimizer, x_batch, y_batch)
    return time.perf_counter() - start


def bare_loop(model: Classifier, data: MNIST) -> float:
    x, y = (torch.tensor(array) for array in data.arrays("train"))
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    start = time.perf_counter()
    order = torch.randperm(len(x))
    x, y = x[order], y[order]
    for x_batch, y_batch in zip(x.split(BATCH), y.split(BATCH), strict=True):
        step(model, optimizer, x_batch, y_batch)
    return time.perf_counter() - start


def fit(model: Classifier, data: MNIST) -> float:
    timer = EpochTimer()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_epochs=1,
            accelerator="cpu",
            limit_val_batches=0,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=True,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[timer, RandomState(), LastCheckpoint()],
        )
        trainer.fit(model, data)
    return timer.epochs[0]


PATHS: dict[str, Callable[[Classifier, MNIST], float]] = {
    "(a) exercise's DataLoader loop": exercise_loop,
    "(b) bare loop over slices": bare_loop,
    "(e) mcubench fit": fit,
}


def measure(model: str, path: str, threads: int, data: MNIST) -> tuple[float, float]:
    """Seconds of one epoch from the start, and the loss on the validation part after it."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = MODELS[model](data.input_shape, data.num_classes, learning_rate=RATE, schedule="constant")
    seconds = PATHS[path](net.train(), data)
    x, y = (torch.tensor(array) for array in data.arrays("val"))
    with torch.inference_mode():
        return seconds, float(nn.functional.cross_entropy(net.eval()(x), y))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="folder with MNIST/raw (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each path (default: 5)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (default: 1 2)")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    options = parser.parse_args()

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    data = MNIST(root=options.data_root, batch_size=BATCH)
    data.setup()
    cases = [(model, path, threads) for model in options.models for path in PATHS for threads in options.threads]
    measured: dict[tuple[str, str, int], list[tuple[float, float]]] = {case: [] for case in cases}
    for case in track(cases * options.repeats, description="epochs"):
        measured[case].append(measure(*case, data))

    for model in options.models:
        table = Table(title=f"{model}, seconds per epoch, median of {options.repeats} (minimum to maximum)")
        for heading in ("path", "threads", "seconds", "of (b), best threads", "loss after"):
            table.add_column(heading, justify="left" if heading == "path" else "right")
        medians = {case: statistics.median(seconds for seconds, _ in measured[case]) for case in cases}
        bare = min(medians[model, "(b) bare loop over slices", threads] for threads in options.threads)
        for path in PATHS:
            threads = min(options.threads, key=lambda number, path=path: medians[model, path, number])
            case = (model, path, threads)
            seconds = sorted(second for second, _ in measured[case])
            table.add_row(
                path,
                str(threads),
                f"{medians[case]:.2f} ({seconds[0]:.2f} to {seconds[-1]:.2f})",
                f"{medians[case] / bare:.2f}",
                f"{measured[case][-1][1]:.3f}",
            )
        Console().print(table)


if __name__ == "__main__":
    main()
