"""Data of one's own that can't be trained on."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.damaged.files import replaced
from benchmarks.damaged.trial import Trial

__all__ = ["data"]

_MODULE = """
import numpy as np
from mcubench.datamodules import Arrays, TensorDataModule


class Mine(TensorDataModule):
    def __init__(self):
        super().__init__(batch_size=20, val_fraction=0.2)
        self.input_shape, self.num_classes, self.class_names = (6,), 3, ("a", "b", "c")

    def load(self):
        random = np.random.default_rng(0)
        x, y = random.normal(size=(120, 6)).astype(np.float32), np.arange(120) % 3
        test_x, test_y = x[:30].copy(), y[:30].copy()
        {change}
        return Arrays(x, y), Arrays(test_x, test_y)
"""
_CHANGES = {
    "NaN in a sample": "x[7, 2] = np.nan",
    "infinity in a sample": "x[7, 2] = np.inf",
    "NaN in a test sample": "test_x[3, 1] = np.nan",
    "no test samples": "test_x, test_y = test_x[:0], test_y[:0]",
    "no training samples": "x, y = x[:0], y[:0]",
    "one training sample": "x, y = x[:1], y[:1]",
    "one class": "y[:] = 0",
    "labels that are no whole numbers": "y = y + 0.5",
    "labels as texts": "y = y.astype(str)",
    "a negative label": "y[5] = -1",
    "a label of the test that training lacks": "test_y[2] = 9",
    "labels in rows": "y = y[:, None]",
    "fewer labels than samples": "y = y[:-1]",
    "more test labels than samples": "test_y = np.arange(40) % 3",
    "samples as texts": "x = x.astype(str)",
    "samples as objects": "x = x.astype(object)",
    "complex samples": "x = x + 1j",
    "test samples of another shape": "test_x = test_x[:, :5]",
    "a number for samples": "x = 5",
    "nothing for samples": "x = None",
    "lists": "x = x.tolist()",
}


def data(pristine: Path, _draw: random.Random) -> Iterator[Trial]:
    """Each with a network and with a tree."""
    for name, change in _CHANGES.items():
        for model in ("MLP", "DecisionTree"):
            words = ("fit", "--model", model, "--data", "mine.Mine", "--threads", "1")
            words += ("--trainer.max_epochs", "1") if model == "MLP" else ()
            text = _MODULE.format(change=change).encode()
            yield Trial("data of one's own", f"{model}, {name}", words, replaced(Path("mine.py"), text), pristine)
