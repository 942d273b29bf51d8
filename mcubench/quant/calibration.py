"""Ranges of values from data, for quantisation after training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from mcubench.errors import UserError
from mcubench.graph import Graph, Value, interpret, ops
from mcubench.quant.composition import composed
from mcubench.quant.fake import moved_inputs
from mcubench.quant.recurrent import lstm_layer, weights_of_cell
from mcubench.quant.sharing import cell_of

__all__ = ["Observer", "Range", "calibrate"]

Range = tuple[float, float]
Observer = Literal["minmax", "mse"]

_BINS = 2048
_CLIPPED_TO = torch.linspace(0.3, 1, 71, dtype=torch.double)
_BATCH = 256


def calibrate(
    graph: Graph,
    *inputs: Tensor,
    observer: Observer = "minmax",
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[Value, Range]:
    """Runs a float graph on samples and notes the range of each value, and of those that norms are composed of.

    Args:
        graph: A deployed graph.
        *inputs: For each input samples (N, *shape) as the float model takes them, channels first: training data.
        observer: ``minmax``: from the smallest to the largest; ``mse``: with both ends drawn in alike, as far as the
            squared error of 256 levels becomes least.
        progress: Wraps the loop over batches, as ``rich.progress.track`` does.

    Raises:
        UserError: If there are no samples, or a value is not finite.
    """
    if not inputs or not len(inputs[0]):
        raise UserError("calibration needs samples: give some of the training data")
    graph = composed(graph)
    names = {value.name: value for value in (*graph.inputs, *(value for node in graph.nodes for value in node.outputs))}
    ranges: dict[Value, Range] = {}

    def batches() -> Iterable[dict[str, Tensor]]:
        for start in progress(range(0, len(inputs[0]), _BATCH)):
            batch = (x[start : start + _BATCH] for x in inputs)
            found = interpret(graph, *moved_inputs(graph, *batch), every=True)
            found.update(_cells(graph, found))
            yield found

    for found in batches():
        for name, tensor in found.items():
            low, high = float(tensor.min()), float(tensor.max())
            before = ranges.get(names[name], (low, high))
            ranges[names[name]] = min(before[0], low), max(before[1], high)
    for value, bounds in ranges.items():
        if not torch.tensor(bounds).isfinite().all():
            raise UserError(f"{value.name} is not finite for the samples given to calibrate on")
    if observer == "minmax":
        return ranges
    histograms: dict[Value, Any] = {}
    cells = {cell_of(node) for node in graph.nodes}  # whose 16 bits need no clipping
    for found in batches():
        for name, tensor in found.items():
            value = names[name]
            if tensor.is_floating_point() and value not in cells:
                counts = torch.histc(tensor.float(), _BINS, *ranges[value])
                histograms[value] = histograms.get(value, 0) + counts.double()
    return {value: _clipped(*bounds, histograms.get(value)) for value, bounds in ranges.items()}


def _cells(graph: Graph, found: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The cells of each LSTM after all steps, by the name of its last one."""
    for node in graph.nodes:
        if isinstance(node.op, ops.LSTM) and (value := cell_of(node)) is not None:
            x = found[node.inputs[0].name]
            layers = [
                lstm_layer(x, weights_of_cell(cell), backward=bool(index)).cell
                for index, cell in enumerate(node.op.cells)
            ]
            yield value.name, torch.cat([each for each in layers if each is not None], -1)


def _clipped(low: float, high: float, counts: Tensor | None) -> Range:
    """The range whose 256 levels have the least squared error on a histogram."""
    if counts is None or low == high:
        return low, high
    middles = low + (torch.arange(_BINS, dtype=torch.double) + 0.5) * (high - low) / _BINS
    lows, highs = min(low, 0.0) * _CLIPPED_TO[:, None], max(high, 0.0) * _CLIPPED_TO[:, None]
    steps = (highs - lows) / 255
    rounded = (((middles - lows) / steps).round().clamp(0, 255)) * steps + lows
    best = int(((rounded - middles).square() * counts).sum(1).argmin())
    return max(low, float(lows[best])) if low < 0 else low, min(high, float(highs[best])) if high > 0 else high
