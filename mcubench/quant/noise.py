"""How far the integer graph is from the float graph, value by value."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from mcubench.graph import Graph, interpret, ops
from mcubench.quant.fake import moved_inputs
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import run

__all__ = ["LayerNoise", "layer_noise"]


@dataclass(frozen=True)
class LayerNoise:
    """The error of one value.

    Attributes:
        name: Of the value; the inputs come first.
        path: Path of the module that makes it; empty for inputs.
        op: What makes it.
        sqnr: Signal-to-quantisation-noise ratio in dB: 10 log10 of the mean square of the float value by that of the
            difference. Errors of all layers before are in it. Infinite without any difference.
        scale: Distance of two levels.
        clipped: Share of float values that lie beyond the grid by more than half a level.
    """

    name: str
    path: str
    op: str
    sqnr: float
    scale: float
    clipped: float


def layer_noise(graph: Graph, integer: IntegerGraph, *inputs: Tensor) -> list[LayerNoise]:
    """Compares every value that both graphs have, on the same samples.

    Args:
        graph: The deployed graph that the integer graph was made from.
        integer: The integer graph.
        *inputs: As the float model takes them, channels first, (N, *shape); some hundred samples do.
    """
    exact = interpret(graph, *moved_inputs(graph, *inputs), every=True)
    codes = run(integer, *integer.encode(*inputs))
    makers = {node.output.name: node for node in graph.nodes}
    ops_of = {name: node.op for name, node in makers.items()}
    found = []
    for tensor in (*integer.inputs, *(node.output for node in integer.nodes)):
        if tensor.name not in exact or isinstance(ops_of.get(tensor.name), ops.Reshape):
            continue  # a step that only the integer graph has; or one that leaves every value as it was
        signal = exact[tensor.name].double().flatten()
        grid = tensor.grid
        noise = grid.values(codes[tensor.name]).double().flatten() - signal
        low, high = (grid.scale * (end - grid.zero_point) for end in (ACTIVATION_MIN, ACTIVATION_MAX))
        maker = makers.get(tensor.name)
        found.append(
            LayerNoise(
                name=tensor.name,
                path=maker.path if maker else "",
                op=maker.op.label if maker else "input",
                sqnr=_decibels(float(signal.square().sum()), float(noise.square().sum())),
                scale=grid.scale,
                clipped=float(((signal < low - grid.scale / 2) | (signal > high + grid.scale / 2)).double().mean()),
            )
        )
    return found


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf
