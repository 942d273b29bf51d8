"""The float graph with weights and values rounded to the integer graph's grids: what training with it sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mcubench.graph import Graph, Node, Value, interpret, ops
from mcubench.quant.grid import weight_codes
from mcubench.quant.integer.ir import Filter, IntegerGraph

__all__ = ["interpret_fake", "moved_inputs"]

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
    filters = {node.name: each for node in integer.nodes for each in node.kernel.filters()}
    rounded = replace(graph, nodes=tuple(_rounded(node, filters) for node in graph.nodes))
    outputs: tuple[Tensor, ...] = interpret(rounded, *moved_inputs(graph, *inputs), settle=_settler(integer))
    return outputs


def moved_inputs(graph: Graph, *inputs: Tensor) -> list[Tensor]:
    """Inputs with their channels where a deployed graph wants them."""
    return [x.movedim(-1 - axes, -1) if axes else x for x, axes in zip(inputs, graph.input_axes_moved, strict=True)]


def _settler(integer: IntegerGraph) -> Callable[[Value, Tensor], Tensor]:
    tensors = (*integer.inputs, *(node.output for node in integer.nodes))
    grids = {tensor.name: tensor.grid for tensor in tensors}

    def settle(value: Value, x: Tensor) -> Tensor:
        grid = grids.get(value.name)
        return x if grid is None else grid.values(grid.codes(x))

    return settle


def _rounded(node: Node, filters: dict[str, Filter]) -> Node:
    """The node with its weights rounded."""
    filter_ = filters.get(node.name)
    if filter_ is None or not isinstance(node.op, _Layer):
        return node
    weight, axis = node.op.weight, 1 if isinstance(node.op, ops.TransposedConv) else 0
    shape = [1] * weight.tensor.ndim
    shape[axis] = -1
    codes = weight_codes(weight.tensor, filter_.scales, filter_.bits, axis)
    changed: dict[str, Any] = {"weight": weight.derive((codes * filter_.scales.reshape(shape)).to(torch.float32))}
    return replace(node, op=replace(node.op, **changed))
