"""Stages that predicting one sample takes, and the two tables of which estimator takes which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

__all__ = [
    "ACCUMULATOR_BITS",
    "NotPricedError",
    "Stage",
    "Stored",
    "argmax",
    "class_bits",
    "classifying",
    "dense",
    "index_bits",
    "priced",
    "transforming",
    "within",
]

ACCUMULATOR_BITS = 32  # sums, distances and weighted votes that nothing requantises: int32 or float32


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
    """

    name: str
    role: str
    count: int
    bits: int = 0


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
        in_place: Whether the output lies where the input lay.
        path: Which part of the estimator it is; empty if it is all.
        notes: What is worth knowing.
        unsupported: Why it has no price, if so.
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
    in_place: bool = False
    path: str = ""
    notes: tuple[str, ...] = ()
    unsupported: str = ""


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


def dense(op: str, outputs: int, inputs: int, bias: bool, **more: Any) -> Stage:
    """A product y = W x + b, priced as a network's dense layer.

    Args:
        op: What it is called.
        outputs: Rows of W.
        inputs: Columns of W.
        bias: Whether there is a b.
        **more: Other attributes of the stage.
    """
    stored = (
        Stored("weight", "weight", outputs * inputs),
        *([Stored("bias", "bias", outputs)] if bias else []),
        Stored("requantisation", "requantisation", outputs),
    )
    return Stage(op, outputs, outputs * inputs, bias_adds=outputs if bias else 0, stored=stored, **more)


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
