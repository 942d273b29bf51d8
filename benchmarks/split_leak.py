"""How much a leaking validation split flatters, on HAPT: validation against test, over the folds of two splits.

    python benchmarks/split_leak.py --data-root PATH

Trains one model per fold, once with whole people held out for validation and once with random windows, and prints the
mean of validation minus test with its 95 % interval (Student's t over the folds). The test people are the same for all.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parents[1]))  # so that it also runs by its path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.tables import interval
from mcubench import models
from mcubench.datamodules import HAPT
from mcubench.datamodules.base import Part
from mcubench.results.evaluation import Scores, score

import lightning.pytorch as pl  # isort: skip  # after mcubench, which mends torchvision where that is needed

KINDS = ("subject", "random")


def train_and_score(options: argparse.Namespace, kind: str, fold: int) -> dict[Part, Scores]:
    """Scores of the model after its last epoch; nothing is chosen by validation, so that it stays unbiased."""
    pl.seed_everything(fold, verbose=False)
    data = HAPT(root=options.data_root, split=kind, folds=options.folds, fold=fold)  # type: ignore[arg-type]
    model = getattr(models, options.model)(data.input_shape, data.num_classes)
    trainer = pl.Trainer(
        max_epochs=options.epochs,
        accelerator="cpu",
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, data)
    return {part: score(model, data.whole(part), data.num_classes, torch.device("cpu")) for part in get_args(Part)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", help="folder with HAPT (default: $MCUBENCH_DATA, else the cache folder)")
    parser.add_argument("--model", choices=["MLP", "CNN1d", "DSCNN"], default="CNN1d")
    parser.add_argument("--folds", type=int, default=7, help="folds of the 21 training people (default: 7)")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    cases = [(kind, fold) for fold in range(options.folds) for kind in KINDS]
    scores = {case: train_and_score(options, *case) for case in track(cases, description="folds")}

    table = Table(
        title=f"{options.model} on HAPT, {options.folds} folds, {options.epochs} epochs: points, 95 % interval"
    )
    for heading in ("split", "accuracy: validation - test", "macro-F1: validation - test", "test accuracy"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for kind in KINDS:
        folds = [scores[kind, fold] for fold in range(options.folds)]
        table.add_row(
            kind,
            interval([fold["val"].accuracy - fold["test"].accuracy for fold in folds], "+.2f", 100),
            interval([fold["val"].macro_f1 - fold["test"].macro_f1 for fold in folds], "+.2f", 100),
            interval([fold["test"].accuracy for fold in folds], scale=100),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
