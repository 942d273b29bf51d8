"""What quantisation does to a model: its predictions in four forms, noise by layer, flash and RAM."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from mcubench.export.interpreters import Arena
from mcubench.export.stored import Stored
from mcubench.files import atomic_path
from mcubench.quant.noise import LayerNoise

__all__ = ["Change", "Changes", "Flash", "Form", "QuantizationReport", "Ram", "changes", "form"]

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Form:
    """One form of the model on the test set.

    Attributes:
        name: Which one.
        accuracy: Share of samples that are right.
        macro_f1: Mean F1 of the classes that occur or were predicted.
        agreement: Share of samples with the same class as in float.
    """

    name: str
    accuracy: float
    macro_f1: float
    agreement: float


def form(name: str, predicted: Classes, in_float: Classes, true: Classes) -> Form:
    """Scores predictions, shape (N,) each."""
    return Form(
        name=name,
        accuracy=float(metrics.accuracy_score(true, predicted)),
        macro_f1=float(metrics.f1_score(true, predicted, average="macro")),
        agreement=float((predicted == in_float).mean()),
    )


@dataclass(frozen=True)
class Change:
    """Samples whose class changed in the same way."""

    true: str
    in_float: str
    in_integers: str
    count: int


@dataclass(frozen=True)
class Changes:
    """Samples whose class differs between float and integers.

    Attributes:
        better: Wrong in float, right in integers.
        worse: Right in float, wrong in integers.
        neither: Wrong in both.
        kinds: By true class and both predictions, the most frequent first.
    """

    better: int
    worse: int
    neither: int
    kinds: tuple[Change, ...]

    @property
    def count(self) -> int:
        """How many there are."""
        return self.better + self.worse + self.neither


def changes(true: Classes, in_float: Classes, in_integers: Classes, names: Mapping[int, str]) -> Changes:
    """Compares predictions, shape (N,) each; a class without a name is called by its number."""
    differ = in_float != in_integers
    triples = Counter(zip(*(each[differ].tolist() for each in (true, in_float, in_integers)), strict=True))
    ordered = sorted(triples.items(), key=lambda item: (-item[1], item[0]))
    better, worse = int((differ & (in_integers == true)).sum()), int((differ & (in_float == true)).sum())
    return Changes(
        better=better,
        worse=worse,
        neither=int(differ.sum()) - better - worse,
        kinds=tuple(_change(triple, count, names) for triple, count in ordered),
    )


def _change(triple: tuple[int, int, int], count: int, names: Mapping[int, str]) -> Change:
    true, in_float, in_integers = (names.get(each, str(each)) for each in triple)
    return Change(true, in_float, in_integers, count)


@dataclass(frozen=True)
class Flash:
    """Flash, measured and estimated.

    Attributes:
        stored: What the ``.tflite`` is made of.
        packed: Bytes of the weights packed at their width.
        estimate: What ``profile`` says: packed weights, biases, multipliers and shifts; ``None`` if not known.
    """

    stored: Stored
    packed: int
    estimate: int | None


@dataclass(frozen=True)
class Ram:
    """RAM, measured and estimated.

    Attributes:
        planned: Bytes of activations and scratch buffers, planned on the integer graph.
        recorded: What TFLite Micro took; ``None`` where it is not installed.
        smallest: The smallest arena in which it starts; likewise.
        estimate: What ``profile`` says: activations alone, on the float graph; ``None`` if not known.
    """

    planned: int
    recorded: Arena | None
    smallest: int | None
    estimate: int | None


@dataclass(frozen=True)
class QuantizationReport:
    """A trained model in float and in integers.

    Attributes:
        model: Name of its class.
        data: Name of the data module's.
        samples: Number of test samples.
        ranges: How the ranges of values came about.
        widths: Bits of weights and activations, in words.
        forms: The model in float, fake-quantised, as integer graph and, where it is installed, in TFLite Micro.
        mismatches: Bytes of the outputs that TFLite Micro computes otherwise than the integer graph, and of how many;
            ``None`` where it is not installed.
        changes: Samples whose class differs.
        layers: Noise of each value.
        flash: Flash.
        ram: RAM.
    """

    model: str
    data: str
    samples: int
    ranges: str
    widths: str
    forms: tuple[Form, ...]
    mismatches: tuple[int, int] | None
    changes: Changes
    layers: tuple[LayerNoise, ...]
    flash: Flash
    ram: Ram

    def as_dict(self) -> dict[str, Any]:
        """All figures as plain values; what is infinite becomes null."""
        found = asdict(self)
        for layer in found["layers"]:
            layer["sqnr"] = layer["sqnr"] if math.isfinite(layer["sqnr"]) else None
        found["changes"]["count"] = self.changes.count
        found["flash"]["stored"]["structure"] = self.flash.stored.structure
        return found

    def save_json(self, target: Path) -> None:
        """Writes all figures to a file, which is there whole or not at all."""
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2, allow_nan=False) + "\n", "utf-8")
