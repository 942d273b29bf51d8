"""RAM of an integer graph: the arena, as TFLite Micro plans it, or as its file tells it to."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mcubench.cost.memory import ALIGNMENT, Buffer, MemoryPlan, place, plan_buffers, planned
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import IntegerGraph, IntegerNode, IntegerTensor

__all__ = ["plan_arena", "prescribed_places"]


def plan_arena(graph: IntegerGraph) -> MemoryPlan:
    """Plans the arena of a graph: every tensor has a place of its own, from its writing to its last reading.

    TFLite Micro writes no output over its input, copies where it reshapes, pads into a tensor, and has working memory:
    sums of a transposed convolution in 32 bits, and the weights of a layer that are stored in 4 bits, unpacked. It
    rounds every size up to 16 bytes. Where copies by RESHAPE make the arena larger, the file prescribes places in
    which nothing is copied (`prescribed_places`), and the plan has those.
    """
    copied, shared = _with_copies(graph), _shared(graph)
    return copied if shared is None or shared.peak >= copied.peak else shared


def prescribed_places(graph: IntegerGraph) -> Mapping[IntegerTensor, int] | None:
    """Offsets of all tensors in the arena, of which a reshaped one lies where it was; none where copies cost nothing.

    TFLite Micro takes them from a file's metadata, and puts working memory around them.
    """
    copied, shared = _with_copies(graph), _shared(graph)
    if shared is None or shared.peak >= copied.peak:
        return None
    offsets = {each.buffer.name: each.offset for each in shared.placements}
    return {tensor: offsets[base.name] for tensor, base in _bases(graph).items()}


def _with_copies(graph: IntegerGraph) -> MemoryPlan:
    bases = {tensor: tensor for tensor in _bases(graph)}
    return plan_buffers([*_tensors(graph, bases), *_working(graph)], _steps(graph), ())


def _shared(graph: IntegerGraph) -> MemoryPlan | None:
    """The plan in which what a RESHAPE writes is what it reads."""
    if not any(isinstance(node.kernel, kernels.Reshape) for node in graph.nodes):
        return None
    tensors, working = _tensors(graph, _bases(graph)), _working(graph)
    return planned(place(working, around=place(tensors)), _steps(graph), ())


def _bases(graph: IntegerGraph) -> dict[IntegerTensor, IntegerTensor]:
    """For each tensor the one whose bytes it is, reshaped."""
    bases = {tensor: tensor for tensor in graph.inputs}
    for node in graph.nodes:
        source = node.inputs[0]
        reshaped = isinstance(node.kernel, kernels.Reshape) and isinstance(source, IntegerTensor)
        bases[node.output] = bases[source] if reshaped else node.output  # type: ignore[index]
    return bases


def _tensors(graph: IntegerGraph, bases: Mapping[IntegerTensor, IntegerTensor]) -> list[Buffer]:
    """A buffer for each base, from its writing to the last reading of what lies in it."""
    lives: dict[IntegerTensor, list[int]] = {bases[tensor]: [0, 0] for tensor in graph.inputs}
    for step, node in enumerate(graph.nodes, 1):
        lives.setdefault(bases[node.output], [step, step])[1] = step
        for each in node.inputs:
            if isinstance(each, IntegerTensor):
                lives[bases[each]][1] = step
    for tensor in graph.outputs:
        lives[bases[tensor]][1] = len(graph.nodes)
    return [Buffer(tensor.name, _rounded_up(tensor.bytes), *life) for tensor, life in lives.items()]


def _working(graph: IntegerGraph) -> list[Buffer]:
    return [
        Buffer(f"{node.name} working memory {index}", _rounded_up(scratch), step, step)
        for step, node in enumerate(graph.nodes, 1)
        for index, scratch in enumerate(_scratch(node))
    ]


def _steps(graph: IntegerGraph) -> tuple[str, ...]:
    return ("input", *(node.name for node in graph.nodes))


def _rounded_up(size: int) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT


def _scratch(node: IntegerNode) -> tuple[int, ...]:
    """Bytes of each piece of working memory of TFLite Micro's reference kernels."""
    kernel = node.kernel
    if isinstance(kernel, kernels.TransposeConvolve):
        return (4 * node.output.size,)
    if isinstance(kernel, (kernels.Convolve, kernels.DepthwiseConvolve)) and kernel.filter.bits < 8:
        return (math.prod(kernel.filter.codes.shape),)
    if isinstance(kernel, (kernels.Sum, kernels.Mean)):  # sums, an index of the input, the axes
        return 4 * node.output.size, 4 * len(node.inputs[0].shape), 4 * len(kernel.axes)
    if isinstance(kernel, kernels.Lstm):  # a gate each, in 16 bits
        return (2 * node.output.shape[-1],) * len(kernel.gates)
    return ()
