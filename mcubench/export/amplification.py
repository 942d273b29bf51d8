"""How far a code that is one off may carry."""

from __future__ import annotations

import functools
import math

import torch

from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import Constant, IntegerGraph, IntegerNode, IntegerTensor, Kernel, Operand
from mcubench.quant.integer.kernels.functions import TableKernel

__all__ = ["amplification"]


def amplification(graph: IntegerGraph) -> dict[str, float]:
    """The most steps of an output that one step of one code may become, for each tensor by its name.

    Several ways from a tensor to an output are not added up. Of what comes to a mean there is no bound: it is off the
    same way in many places, which a mean adds up.
    """
    found = {tensor.name: 0.0 for tensor in (*graph.inputs, *(node.output for node in graph.nodes))}
    found |= {tensor.name: 1.0 for tensor in graph.outputs}
    for node in reversed(graph.nodes):
        for place, read in enumerate(node.inputs):
            if isinstance(read, IntegerTensor):
                steps = found[node.output.name]
                carried = _gain(node.kernel, node, place) * steps if steps else 0.0
                found[read.name] = max(found[read.name], carried)
    return found


@functools.singledispatch
def _gain(kernel: Kernel, node: IntegerNode, _place: int) -> float:
    """How many steps of its result one step of an operand is worth; 1 where codes are moved or chosen."""
    weights = [
        float((each.codes.movedim(each.axis, 0).flatten(1).short().abs().amax(1) * each.scales).max())
        for each in kernel.filters()
    ]
    return max(weights) * _ratio(node, 0) if weights else 1.0


def _ratio(node: IntegerNode, place: int) -> float:
    return node.inputs[place].grid.scale / node.output.grid.scale


@_gain.register(kernels.Add)
@_gain.register(kernels.Subtract)
def _(_kernel: kernels.Add | kernels.Subtract, node: IntegerNode, place: int) -> float:
    return _ratio(node, place)


@_gain.register
def _(_kernel: kernels.Multiply, node: IntegerNode, place: int) -> float:
    return _ratio(node, place) * _largest(node.inputs[1 - place])


def _largest(factor: Operand) -> float:
    grid = factor.grid
    if isinstance(factor, Constant):
        return float(grid.values(factor.codes).abs().max())
    return grid.scale * max(ACTIVATION_MAX - grid.zero_point, grid.zero_point - ACTIVATION_MIN)


@_gain.register
def _(kernel: TableKernel, node: IntegerNode, _place: int) -> float:
    codes = torch.arange(ACTIVATION_MIN, ACTIVATION_MAX + 1)
    results = kernel.table(codes, node.inputs[0].grid, node.output.grid)
    return float(results.long().diff().abs().max())


@_gain.register
def _(_kernel: kernels.AveragePool, _node: IntegerNode, _place: int) -> float:
    return math.inf


@_gain.register
def _(_kernel: kernels.Softmax, node: IntegerNode, _place: int) -> float:
    return _ratio(node, 0) / 4  # p (1 - p) is the steepest slope
