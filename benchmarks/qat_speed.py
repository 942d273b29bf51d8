"""What quantisation-aware training costs: seconds per epoch against float training, in one run.

    python -m benchmarks.qat_speed --write docs/quantization.md

MNIST, and HAPT's windows for recurrent nets, batch 100, Adam, one thread. Float and rounded epochs take turns, so that
a machine whose speed drifts does it to both alike; the ratio of medians is printed. Observers learn all the time, the
dearest case.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import warnings
from pathlib import Path

import torch
from rich.progress import track

from benchmarks.command_line import exit_code
from benchmarks.tables import table, write_tables
from mcubench.callbacks import EpochTimer, QuantizationAwareTraining
from mcubench.datamodules import HAPT, MNIST, TensorDataModule
from mcubench.models import CNN, DSCNN, GRU, LSTM, MLP, Classifier

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed

BATCH, BATCHES = 100, 200  # HAPT has 60
MODELS: dict[str, type[Classifier]] = {"MLP": MLP, "CNN": CNN, "DSCNN": DSCNN, "GRU": GRU, "LSTM": LSTM}
RECURRENT = ("GRU", "LSTM")
BITS = (None, 8, 4, 2)


def seconds(model: str, bits: int | None, data: TensorDataModule) -> float:
    """Of one epoch, the first after one of warming up."""
    torch.manual_seed(0)
    timer = EpochTimer()
    rounding = [] if bits is None else [QuantizationAwareTraining(weight_bits=bits)]
    trainer = pl.Trainer(
        max_epochs=2,
        limit_train_batches=BATCHES,
        limit_val_batches=0,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[timer, *rounding],
    )
    trainer.fit(MODELS[model](data.input_shape, data.num_classes), data)
    return timer.epochs[1]


def run(options: argparse.Namespace) -> int:
    torch.set_num_threads(1)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    mnist, hapt = (kind(root=options.root, batch_size=BATCH) for kind in (MNIST, HAPT))
    cases = [(model, bits) for model in options.models for bits in BITS]
    measured: dict[tuple[str, int | None], list[float]] = {case: [] for case in cases}
    for case in track(cases * options.repeats, f"epochs of {BATCHES} batches"):
        measured[case].append(seconds(*case, hapt if case[0] in RECURRENT else mnist))
    rows = []
    for model in options.models:
        plain = statistics.median(measured[model, None])
        ratios = (f"{statistics.median(measured[model, bits]) / plain:.2f}" for bits in BITS[1:])
        rows.append([model, f"{plain:.2f}", *ratios])
    note = (
        f"Seconds of {BATCHES} batches of {BATCH} on MNIST, of recurrent nets of an epoch on HAPT's windows; one "
        f"thread, median of {options.repeats} epochs that took turns; with weights of so many bits, as multiples of "
        "float."
    )
    content = f"{table('model | float [s]: | 8 bits: | 4 bits: | 2 bits:', rows)}\n\n{note}"
    if options.write:
        write_tables(options.write, {"cost": content})
    else:
        print(content)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the data root (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--repeats", type=int, default=5, help="epochs of each (default: 5)")
    parser.add_argument("--write", type=Path, help="put the table between the markers of this file")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    return exit_code(run, parser)


if __name__ == "__main__":
    sys.exit(main())
