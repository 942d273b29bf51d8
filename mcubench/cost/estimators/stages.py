"""Stages that predicting one sample takes, and the two tables of which estimator takes which.

A stage says what it costs and what it computes, from the same stored numbers: so that a price and a score at some bit
widths are of one and the same thing (`mcubench.baselines.rounded` computes with rounded numbers).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACCUMULATOR_BITS",
    "FUNCTIONS",
    "STEP",
    "Affine",
    "Computation",
    "NotPricedError",
    "Numbers",
    "Rounding",
    "Stage",
    "Stored",
    "argmax",
    "class_bits",
    "classifying",
    "dense",
    "index_bits",
    "kept",
    "largest",
    "not_negative",
    "priced",
    "squared_distances",
    "the_class",
    "transforming",
    "within",
]

ACCUMULATOR_BITS = 32  # sums, distances and weighted votes that nothing requantises: int32 or float32

# What a stage's stored numbers are by their names; if the input lies on a grid, its step too.
Numbers = Mapping[str, NDArray[Any]]
STEP = "step of the input"

# How a stored number becomes an integer: the nearest on a symmetric grid of its row (``row``), of the whole array
# (``tensor``) or of -1 to 1 (``unit``); the nearest on the input's grid (``input``), or the next below, which keeps
# ``x <= threshold`` as it is for every x on that grid (``threshold``); or as it is (``exact``).
Rounding = Literal["row", "tensor", "unit", "input", "threshold", "exact"]


def largest(scores: NDArray[Any]) -> NDArray[np.int64]:
    """The first of the largest of scores (N, K); of a single one, whether it is above 0."""
    return np.asarray(scores[:, 0] > 0 if scores.shape[1] == 1 else scores.argmax(1), np.int64)


# The outputs (N, outputs) of a stage for inputs (N, inputs) and its stored numbers. Where it is a dataclass that
# `mcubench.quant.classical` knows, a device computes it.
Computation = Callable[[NDArray[Any], Numbers], NDArray[Any]]

# Functions behind a layer, in float64.
FUNCTIONS: Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "relu": lambda z: np.maximum(z, 0),
    "tanh": np.tanh,
    "sigmoid": lambda z: 0.5 + 0.5 * np.tanh(0.5 * z),  # 1 / (1 + exp(-z)) could overflow
}


def not_negative(scores: NDArray[Any]) -> NDArray[np.int64]:
    """Whether the only score (N, 1) is 0 or above."""
    return np.asarray(scores[:, 0] >= 0, np.int64)


def the_class(classes: NDArray[Any]) -> NDArray[np.int64]:
    """The class that a single output (N, 1) is."""
    return np.asarray(classes[:, 0], np.int64)


class NotPricedError(Exception):
    """An estimator has options that no formula covers; the message says which."""


@dataclass(frozen=True)
class Stored:
    """Numbers that lie in flash.

    Attributes:
        name: What they are.
        role: ``weight``, ``bias`` or ``requantisation``, as in `FlashLine`; or ``constant``, which has its own width.
        count: How many.
        bits: Of a constant.
        values: The numbers, if computing needs them.
        rounding: How those with the role ``weight`` become integers.
        room: Bits that are free in another array for each of them: what is no wider takes none of its own.
    """

    name: str
    role: str
    count: int
    bits: int = 0
    values: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    rounding: Rounding = "row"
    room: int = 0


def kept(name: str, values: Any, role: str = "weight", rounding: Rounding = "row") -> Stored:
    """Numbers that lie in flash and that computing needs."""
    array = np.asarray(values)
    return Stored(name, role, array.size, values=array, rounding=rounding)


@dataclass(frozen=True)
class Stage:
    """One step of predicting one sample, whatever the bit widths.

    Attributes:
        op: What is computed.
        outputs: Elements that it leaves for the next stage.
        macs: Multiply-accumulates.
        comparisons: Comparisons at worst.
        functions: Exponentials, powers, hyperbolic tangents, cosines, roots and divisions.
        products: Multiplications of single elements, which are no MACs.
        bias_adds: Additions of biases, for those who count them.
        stored: What it needs of flash.
        output_bits: Of an output element; ``None`` for the activations' width.
        scratch: Bytes of RAM beside input and output.
        sums: Sums that lie in RAM besides, at the accumulators' width.
        in_place: Whether the output lies where the input lay.
        path: Which part of the estimator it is; empty if it is all.
        notes: What is worth knowing.
        unsupported: Why it has no price, if so.
        compute: The outputs (N, outputs) for inputs (N, inputs) and the stored numbers; ``None`` if nobody said.
        moves: Whether outputs are some of the inputs, so that they lie on the same grid.
        decide: Of a classifier's last stage, which class its outputs mean: (N, outputs) to indices (N,).
    """

    op: str
    outputs: int
    macs: int = 0
    comparisons: int = 0
    functions: int = 0
    products: int = 0
    bias_adds: int = 0
    stored: tuple[Stored, ...] = ()
    output_bits: int | None = None
    scratch: int = 0
    sums: int = 0
    in_place: bool = False
    path: str = ""
    notes: tuple[str, ...] = ()
    unsupported: str = ""
    compute: Computation | None = field(default=None, repr=False, compare=False)
    moves: bool = False
    decide: Callable[[NDArray[Any]], NDArray[np.int64]] = field(default=largest, repr=False, compare=False)


Stages = tuple[Stage, ...]


@singledispatch
def classifying(estimator: Any) -> Stages:
    """The stages of predicting a class; register a function here for a classifier of your own.

    Args:
        estimator: A fitted classifier.

    Raises:
        NotPricedError: If there is no formula for it.
    """
    raise NotPricedError(f"there is no formula for the classifier {type(estimator).__name__}")


@singledispatch
def transforming(estimator: Any) -> Stages:
    """The stages of transforming a sample for what comes behind; a table of its own, as some estimators can do both.

    Args:
        estimator: A fitted transformer.

    Raises:
        NotPricedError: If there is no formula for it.
    """
    raise NotPricedError(f"there is no formula for the transformer {type(estimator).__name__}")


def priced(stages: Callable[[Any], Stages], estimator: Any) -> Stages:
    """The stages of an estimator; if there is no formula, one that says so."""
    try:
        return stages(estimator)
    except NotPricedError as error:
        return (Stage(type(estimator).__name__, outputs=0, unsupported=str(error)),)


def within(path: str, stages: Stages) -> Stages:
    """The stages of a part, under its name."""
    return tuple(replace(stage, path=f"{path}.{stage.path}".rstrip(".")) for stage in stages)


def dense(op: str, weight: NDArray[Any], bias: NDArray[Any] | None = None, **more: Any) -> Stage:
    """A product y = W x + b, priced as a network's dense layer.

    Args:
        op: What it is called.
        weight: W, shape (outputs, inputs).
        bias: b, shape (outputs,); left out if it is all zeros.
        **more: Other attributes of the stage.
    """
    outputs, inputs = weight.shape
    shifted = bias is not None and bool(np.any(bias))
    stored = (
        kept("weight", weight),
        *([kept("bias", bias, "bias")] if shifted else []),
        Stored("requantisation", "requantisation", outputs),
    )
    options = {"compute": Affine(), **more}
    return Stage(op, outputs, outputs * inputs, bias_adds=outputs if shifted else 0, stored=stored, **options)


@dataclass(frozen=True)
class Affine:
    """What a dense layer gives: x W^T + b, with a function of `FUNCTIONS` behind it, if one is named."""

    function: str | None = None

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """The outputs (N, outputs) for x (N, inputs)."""
        sums = np.asarray(x @ numbers["weight"].T + numbers.get("bias", 0.0))
        return sums if self.function is None else FUNCTIONS[self.function](sums)


def squared_distances(x: NDArray[Any], vectors: NDArray[Any]) -> NDArray[Any]:
    """|x - v|^2 for samples (N, features) and vectors (V, features), shape (N, V); exact for integers.

    As |x|^2 - 2 x v + |v|^2 in float64: what a device sums up one by one, in one product of matrices.
    """
    x, vectors = x.astype(np.float64), vectors.astype(np.float64)
    dots = x @ vectors.T
    dots *= -2
    dots += np.einsum("nf,nf->n", x, x)[:, None]
    dots += np.einsum("vf,vf->v", vectors, vectors)
    return np.asarray(np.maximum(dots, 0, out=dots))


def argmax(scores: int) -> int:
    """Comparisons that find the largest score; of one score, its sign."""
    return max(scores - 1, 1)


def index_bits(values: int) -> int:
    """Bits of an index with so many values, in whole bytes that processors can read: 8, 16 or 32."""
    return next(bits for bits in (8, 16, 32) if values <= 1 << bits)


def class_bits(estimator: Any) -> int:
    """Bits of a class.

    Raises:
        NotPricedError: If it predicts several outputs.
    """
    if isinstance(estimator.classes_, list):
        raise NotPricedError("it predicts several outputs")
    return index_bits(len(estimator.classes_))
