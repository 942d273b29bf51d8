"""RAM of an integer graph: the arena, as TFLite Micro plans it."""

from __future__ import annotations

import math

from mcubench.cost.memory import ALIGNMENT, Buffer, MemoryPlan, plan_buffers
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import IntegerGraph, IntegerNode, IntegerTensor

__all__ = ["plan_arena"]


def plan_arena(graph: IntegerGraph) -> MemoryPlan:
    """Plans the arena of a graph: every tensor has a place of its own, from its writing to its last reading.

    TFLite Micro writes no output over its input, copies where it reshapes, pads into a tensor, and has working memory:
    sums of a transposed convolution in 32 bits, and the weights of a layer that are stored in 4 bits, unpacked. It
    rounds every size up to 16 bytes.
    """
    end = len(graph.nodes)
    lives: dict[IntegerTensor, list[int]] = {tensor: [0, 0] for tensor in graph.inputs}
    for step, node in enumerate(graph.nodes, 1):
        lives.setdefault(node.output, [step, step])
        for each in node.inputs:
            if isinstance(each, IntegerTensor):
                lives[each][1] = step
    for tensor in graph.outputs:
        lives[tensor][1] = end
    buffers = [Buffer(tensor.name, _rounded_up(tensor.size), *life) for tensor, life in lives.items()]
    for step, node in enumerate(graph.nodes, 1):
        if scratch := _scratch(node):
            buffers.append(Buffer(f"{node.name} working memory", _rounded_up(scratch), step, step))
    return plan_buffers(buffers, ("input", *(node.name for node in graph.nodes)), ())


def _rounded_up(size: int) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT


def _scratch(node: IntegerNode) -> int:
    """Bytes of working memory of TFLite Micro's reference kernels."""
    kernel = node.kernel
    if isinstance(kernel, kernels.TransposeConvolve):
        return 4 * node.output.size
    if isinstance(kernel, (kernels.Convolve, kernels.DepthwiseConvolve)) and kernel.filter.bits < 8:
        return math.prod(kernel.filter.codes.shape)
    return 0
