"""From stages to the report that networks have: the same widths, the same flash lines, the same arena."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from mcubench.cost.estimators.stages import ACCUMULATOR_BITS, Stage, Stages, Stored, classifying, priced, transforming
from mcubench.cost.estimators.trees import trees_of
from mcubench.cost.macs import MacCount, Unsupported
from mcubench.cost.memory import Buffer, plan_buffers
from mcubench.cost.report import CostReport, LayerCost
from mcubench.cost.size import BIAS_BYTES, REQUANTISATION_BYTES, BitWidths, FlashLine, FlashSize
from mcubench.errors import UserError

__all__ = ["profile_estimator"]

WIDE_BIAS_BITS = 64  # sums of products of int16 do not fit into 32 bits (TFLite's 16x8 kernels have int64 biases, too)


def profile_estimator(
    estimator: BaseEstimator,
    samples: Any,
    model: str | None = None,
    widths: BitWidths | None = None,
    count_bias: bool = False,
    batch_dim: int | None = 0,
) -> CostReport:
    """Prices predicting one sample.

    Args:
        estimator: A fitted classifier or transformer, or a pipeline of them.
        samples: A tensor or array of samples, which are flattened; if there are several, the comparisons of trees are
            averaged over them.
        model: What it is called; its class by default.
        widths: The bit widths to price it at; 8 and 8 by default.
        count_bias: Count the addition of a bias as one MAC.
        batch_dim: Where the batch stands in the samples.

    Raises:
        UserError: If it is not fitted, takes other samples, or `widths` name a part that is not there.
    """
    model, widths = model or type(estimator).__name__, widths or BitWidths()
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        raise UserError(f"{model} is not fitted yet: its cost is known after fit") from None
    x = _flat(samples, batch_dim)
    features = getattr(estimator, "n_features_in_", x.shape[1])
    if x.shape[1] != features:
        raise UserError(f"{model} takes samples of {features:,} values; got {x.shape[1]:,}")
    stages = priced(classifying if is_classifier(estimator) else transforming, estimator)
    widths.check_paths({stage.path for stage in stages if any(each.role == "weight" for each in stage.stored)})
    return _report(stages, features, model, widths, count_bias, _mean_less_worst(estimator, x))


def _flat(samples: Any, batch_dim: int | None) -> NDArray[Any]:
    """Samples as an array (N, values)."""
    while isinstance(samples, (tuple, list)) and len(samples) == 1:
        samples = samples[0]
    x = samples.detach().cpu().numpy() if isinstance(samples, Tensor) else samples
    if not isinstance(x, np.ndarray) or (batch_dim is not None and x.ndim <= batch_dim):
        raise UserError(f"an estimator's sample must be one tensor or array with a batch; got {type(samples).__name__}")
    x = x[None] if batch_dim is None else np.moveaxis(x, batch_dim, 0)
    if len(x) == 0:
        raise UserError(f"an example of shape {tuple(np.shape(samples))} has no sample")
    return x.reshape(len(x), -1)


def _mean_less_worst(estimator: Any, x: NDArray[Any]) -> float | None:
    """How many comparisons more than at worst trees take for the samples on average, so 0 or less.

    ``None`` without trees, or if there is one sample only: that may be a stand-in.
    """
    before = []
    while isinstance(estimator, Pipeline):
        before += [step for _, step in estimator.steps[:-1] if step not in (None, "passthrough")]
        estimator = estimator.steps[-1][1]
    trees = trees_of(estimator)
    if len(x) < 2 or not trees:
        return None
    for step in before:
        x = step.transform(x)
    return float(sum(tree.leaves(x)[1].mean() - tree.depth for tree in trees))


def _report(
    stages: Stages, inputs: int, model: str, widths: BitWidths, count_bias: bool, less: float | None
) -> CostReport:
    unsupported = tuple(Unsupported(each.op, each.path, each.unsupported) for each in stages if each.unsupported)
    names = ["input", *(f"{index}. {stage.op}" for index, stage in enumerate(stages, 1))]
    lines = [_lines(name, stage, widths) for name, stage in zip(names[1:], stages, strict=True)]
    memory = plan_buffers(_buffers(stages, names, inputs, widths), tuple(names), unsupported)
    macs: Counter[tuple[str, str]] = Counter()
    layers = []
    for stage, stored, ram in zip(stages, lines, memory.live[1:], strict=True):
        own = stage.macs + (stage.bias_adds if count_bias else 0)
        macs[stage.path, stage.op] += own
        layers.append(
            LayerCost(
                path=stage.path,
                op=stage.op,
                output_shape=(stage.outputs,),
                params=sum(each.count for each in stage.stored if each.role != "requantisation"),
                macs=None if stage.unsupported else own,
                flash_bytes=None if stage.unsupported else sum(line.bytes for line in stored),
                ram_bytes=ram,
                comparisons=None if stage.unsupported else stage.comparisons,
                functions=None if stage.unsupported else stage.functions,
            )
        )
    notes = [note for stage in stages for note in stage.notes]
    if products := sum(stage.products for stage in stages):
        notes.append(f"{products:,} multiplications of single elements beside the MACs")
    report = CostReport(
        model=model,
        inputs=((inputs,),),
        widths=widths,
        layers=tuple(layers),
        params=sum(layer.params for layer in layers),
        mac_count=MacCount({key: count for key, count in macs.items() if count}, unsupported),
        flash=FlashSize(tuple(line for stored in lines for line in stored), unsupported),
        memory=memory,
        notes=tuple(notes),
    )
    if less is None or report.comparisons is None:
        return report
    return replace(report, mean_comparisons=report.comparisons + less)


def _lines(name: str, stage: Stage, widths: BitWidths) -> list[FlashLine]:
    bits = widths.of(stage.path)
    lines = []
    for each in stage.stored:
        width = _bits(each, bits, widths.is_integer(bits))
        if each.count and width:
            stored = math.ceil(each.count * width / 8)
            lines.append(FlashLine(name, stage.path, each.name, each.role, each.count, width, stored))
    return lines


def _bits(stored: Stored, weight_bits: int, integer: bool) -> int:
    """Bits of an element; 0 for what is not needed at that width."""
    bias = 8 * BIAS_BYTES if weight_bits < 16 else WIDE_BIAS_BITS
    return {
        "weight": weight_bits if weight_bits > stored.room else 0,
        "bias": bias if integer else weight_bits,
        "requantisation": 8 * REQUANTISATION_BYTES if integer else 0,
        "constant": stored.bits,
    }[stored.role]


def _buffers(stages: Stages, names: Sequence[str], inputs: int, widths: BitWidths) -> list[Buffer]:
    """The input and what every stage leaves, from the stage that writes it to the one that reads it."""
    bits, sum_bits = widths.activation, WIDE_BIAS_BITS if widths.int16 else ACCUMULATOR_BITS
    buffers = []
    current = Buffer(names[0], math.ceil(inputs * bits / 8), 0, 0)
    for step, (name, stage) in enumerate(zip(names[1:], stages, strict=True), 1):
        current = replace(current, last=step)
        if scratch := stage.scratch + math.ceil(stage.sums * sum_bits / 8):
            buffers.append(Buffer(f"{name} scratch", scratch, step, step))
        if not stage.in_place:
            buffers.append(current)
            current = Buffer(name, math.ceil(stage.outputs * (stage.output_bits or bits) / 8), step, step)
    return [each for each in (*buffers, current) if each.size]
