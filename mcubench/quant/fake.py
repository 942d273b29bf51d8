"""The float graph with weights and values rounded to the integer graph's grids: what training with it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from mcubench.graph import Graph, Node, Value, interpret, ops
from mcubench.quant.composition import composed
from mcubench.quant.grid import Grid, by_channel, weight_codes
from mcubench.quant.integer.building.recurrent import directions
from mcubench.quant.integer.ir import IntegerGraph, Kernel
from mcubench.quant.integer.kernels import RecurrentKernel
from mcubench.quant.recurrent import layer_of, results_of

__all__ = ["codes_of_weights", "grids_of_values", "interpret_fake", "moved_inputs"]

_Layer = (ops.Dense, ops.Conv, ops.TransposedConv)


def interpret_fake(graph: Graph, integer: IntegerGraph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Runs a float graph with its weights and values rounded as an integer graph has them.

    It differs from the integer graph in what rounding happens between: biases, sums and rescaling are exact here.

    Args:
        graph: The deployed graph that the integer graph was made from.
        integer: The integer graph.
        *inputs: As the float model takes them, channels first, (N, *shape).

    Returns:
        The outputs, float32, channels last where the graph has them so.
    """
    codes, grids = codes_of_weights(graph, integer), grids_of_values(integer)
    whole = composed(graph)
    kernel_of = {node.output.name: node.kernel for node in integer.nodes}
    layers = {
        node.output.name: _recurrent(node, kernel_of) for node in whole.nodes if isinstance(node.op, ops.Recurrent)
    }
    rounded = replace(whole, nodes=tuple(_rounded(node, codes) for node in whole.nodes))

    def settle(value: Value, x: Tensor) -> Tensor:
        grid = grids.get(value.name)
        return x if grid is None or not x.is_floating_point() else grid.values(grid.codes(x))

    outputs: tuple[Tensor, ...] = interpret(rounded, *moved_inputs(graph, *inputs), settle=settle, layers=layers)
    return outputs


def _recurrent(node: Node, kernel_of: Mapping[str, Kernel]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """A recurrent layer, rounded within as its kernels are, of which there is one for each direction."""
    layers = [
        layer_of(kernel, backward=bool(index))
        for index, name in enumerate(directions(node))
        if isinstance(kernel := kernel_of[name], RecurrentKernel)
    ]
    return lambda x: results_of([each(x) for each in layers])


def moved_inputs(graph: Graph, *inputs: Tensor) -> list[Tensor]:
    """Inputs with their channels where a deployed graph wants them."""
    return [x.movedim(-1 - axes, -1) if axes else x for x, axes in zip(inputs, graph.input_axes_moved, strict=True)]


def grids_of_values(integer: IntegerGraph) -> dict[str, Grid]:
    """The grid of each value of an integer graph, by the value's name in the float graph too."""
    return {tensor.name: tensor.grid for tensor in (*integer.inputs, *(node.output for node in integer.nodes))}


def codes_of_weights(graph: Graph, integer: IntegerGraph) -> dict[str, tuple[Tensor, Tensor, int]]:
    """By the name of each layer its codes in the float graph's layout, int8, their scales, and the channels' axis."""
    filters = {node.name: each for node in integer.nodes for each in node.kernel.filters()}
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, _Layer) and (filter_ := filters.get(node.name)) is not None:
            axis = 1 if isinstance(node.op, ops.TransposedConv) else 0
            codes = weight_codes(node.op.weight.tensor, filter_.scales, filter_.bits, axis)
            found[node.name] = codes, filter_.scales, axis
    return found


def _rounded(node: Node, codes: dict[str, tuple[Tensor, Tensor, int]]) -> Node:
    """The node with its weights rounded."""
    if node.name not in codes:
        return node
    numbers, scales, axis = codes[node.name]
    op: Any = node.op
    return replace(node, op=replace(op, weight=op.weight.derive(numbers * by_channel(scales, numbers, axis))))
