"""A trained model in integers, as ``export`` writes it and ``quantize`` measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import lightning.pytorch as pl
from jsonargparse import ArgumentParser, Namespace
from torch import nn

from mcubench.cli.options.samples import example_for, training_inputs
from mcubench.cli.options.subject import Subject
from mcubench.cost import BitWidths
from mcubench.errors import UserError
from mcubench.graph import Graph, deploy, trace
from mcubench.quant.calibration import Observer
from mcubench.quant.grid import WEIGHT_BITS
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.quantize import quantize
from mcubench.quant.training import find_qat_state, trained_ranges

__all__ = [
    "CALIBRATION_SAMPLES",
    "QUANTIZATION_OPTIONS",
    "Quantized",
    "add_quantization_options",
    "check_one_input",
    "check_quantization",
    "quantized",
]

QUANTIZATION_OPTIONS = ("weight_bits", "bits_per_layer", "calibration_samples", "observer")

CALIBRATION_SAMPLES = 1000  # of training data, on which ranges are observed


@dataclass(frozen=True)
class Quantized:
    """A model in integers and in float.

    Attributes:
        graph: The deployed float graph.
        integer: The integer graph.
        widths: Bits of weights and activations.
        ranges: How the ranges of values came about, in words.
    """

    graph: Graph
    integer: IntegerGraph
    widths: BitWidths
    ranges: str


def add_quantization_options(parser: ArgumentParser) -> None:
    """The options that say how a model becomes integers."""
    parser.add_argument("--weight_bits", type=int | None, help="bits of a weight: 8, 4 or 2; not set, 8 or as trained")
    parser.add_argument("--bits_per_layer", type=dict[str, int] | None, help="other weight bits: '{\"layers.0\": 4}'")
    parser.add_argument(
        "--calibration_samples",
        type=int | None,
        metavar="N",
        help=f"training samples to observe ranges on; not set, {CALIBRATION_SAMPLES}",
    )
    parser.add_argument(
        "--observer",
        type=Literal["minmax", "mse"] | None,
        help="ranges from the smallest to the largest value, or of the least squared error; not set, minmax",
    )


def check_quantization(config: Namespace) -> None:
    """Sees before the work that numbers are in their ranges.

    Raises:
        UserError: If one is not.
    """
    given = {"--weight_bits": config.weight_bits}
    given |= {f"--bits_per_layer {path}:": bits for path, bits in (config.bits_per_layer or {}).items()}
    for name, bits in given.items():
        if bits is not None and bits not in WEIGHT_BITS:
            raise UserError(f"{name} must be 8, 4 or 2; got {bits}")
    if config.calibration_samples is not None and config.calibration_samples < 1:
        raise UserError(f"--calibration_samples must be at least 1; got {config.calibration_samples}")


def check_one_input(verb: str, graph: IntegerGraph) -> None:
    """Refuses a model that takes or gives several tensors.

    Raises:
        UserError: If it does.
    """
    counts = len(graph.inputs), len(graph.outputs)
    if counts != (1, 1):
        raise UserError(f"{verb} takes models with one input and one output; this one has {counts[0]} and {counts[1]}")


def quantized(subject: Subject, model: nn.Module, data: pl.LightningDataModule | None) -> Quantized:
    """Quantises a trained model.

    Ranges and bit widths are those of quantisation-aware training, if the checkpoint is of such a run; else ranges are
    observed on training data, never on test data.

    Args:
        subject: The options.
        model: The model, with its weights.
        data: Its data, if it has some.

    Raises:
        UserError: If an operation has no counterpart in integers, there is no training data to observe ranges on, or
            options contradict what was trained.
    """
    state = find_qat_state(subject.trained)
    if state is not None:
        return _as_trained(subject, state, model, data)
    config = subject.config
    source = data if data is not None else model
    if not isinstance(source, (pl.LightningDataModule, pl.LightningModule)):
        raise UserError("ranges are observed on training data: name it with --data")
    samples = training_inputs(source, config.calibration_samples or CALIBRATION_SAMPLES)
    observer: Observer = config.observer or "minmax"
    widths = BitWidths(config.weight_bits or 8, 8, config.bits_per_layer or {})
    several = len(samples) > 1
    graph = deploy(trace(model, tuple(each[:1] for each in samples) if several else samples[0][:1]))
    integer = quantize(graph, calibration=samples if several else samples[0], observer=observer, widths=widths)
    ranges = f"observed on {len(samples[0]):,} training samples of {type(source).__name__} ({observer}), after training"
    return Quantized(graph, integer, widths, ranges)


def _as_trained(
    subject: Subject, state: Mapping[str, Any], model: nn.Module, data: pl.LightningDataModule | None
) -> Quantized:
    config = subject.config
    for name in ("observer", "calibration_samples"):
        if config[name] is not None:
            raise UserError(f"the run learned its ranges while it was trained: leave out --{name}")
    graph, ranges, widths = trained_ranges(model, example_for(model, data, subject.shape), state)
    other = config.weight_bits not in (None, widths.weight)
    if other or config.bits_per_layer not in (None, dict(widths.per_layer)):
        raise UserError(
            f"the run was trained for {widths}: leave out --weight_bits and --bits_per_layer, or train for other ones"
        )
    integer = quantize(graph, ranges, widths=widths)
    return Quantized(graph, integer, widths, "learned in quantisation-aware training")
