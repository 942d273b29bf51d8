"""Runs an integer graph."""

from __future__ import annotations

import torch
from torch import Tensor

from mcubench.quant.integer.ir import Constant, IntegerGraph, IntegerTensor

__all__ = ["predict", "run"]

_ELEMENTS = 2**20  # of the largest tensor at a time: sums in int64 that stay in a cache


@torch.no_grad()
def run(graph: IntegerGraph, *inputs: Tensor) -> dict[str, Tensor]:
    """Computes every tensor of a graph.

    Args:
        graph: The graph.
        *inputs: For each input the codes, int8, shape (N, *shape without its batch).

    Returns:
        Codes, int8, shape (N, ...), by the tensor's name.
    """
    found: dict[IntegerTensor | Constant, Tensor] = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        read = [each.codes if isinstance(each, Constant) else found[each] for each in node.inputs]
        found[node.output] = node.kernel.run(node, read)
    return {tensor.name: codes for tensor, codes in found.items()}


def predict(graph: IntegerGraph, *inputs: Tensor) -> tuple[Tensor, ...]:
    """The outputs' codes, int8, for codes of any number of samples, computed some at a time."""
    largest = max(tensor.size for tensor in (*graph.inputs, *(node.output for node in graph.nodes)))
    samples = max(1, _ELEMENTS // largest)
    parts = []
    for batch in zip(*(each.split(samples) for each in inputs), strict=True):
        values = run(graph, *batch)
        parts.append([values[output.name] for output in graph.outputs])
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
