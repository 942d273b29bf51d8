"""A model that is fed sample by sample: what it would compute of all samples so far, one step at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mcubench.errors import UserError
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import Constant, IntegerGraph, IntegerNode, IntegerTensor, Kernel
from mcubench.quant.integer.kernels.functions import TableKernel
from mcubench.quant.integer.kernels.recurrent import State

__all__ = ["Stream", "streamed"]

_RANK = 3  # the batch, steps, channels

# What computes each step from that step alone, and where steps may lie then: along an axis of the first input.
_Rule = Callable[[Any, IntegerNode, int], bool]
_OF_ONE_STEP: tuple[tuple[type[Kernel] | tuple[type[Kernel], ...], _Rule], ...] = (
    (kernels.RecurrentKernel, lambda _kernel, _node, axis: axis == 1),
    (
        (TableKernel, kernels.Places, kernels.Add, kernels.Subtract, kernels.Multiply, kernels.Maximum,
         kernels.Minimum, kernels.PRelu),
        lambda _kernel, _node, _axis: True,
    ),
    (
        (kernels.FullyConnected, kernels.L2Normalize, kernels.Softmax, kernels.LogSoftmax),
        lambda _kernel, node, axis: axis < len(node.inputs[0].shape) - 1,
    ),
    (
        kernels.Mean,
        lambda kernel, node, axis: axis not in kernel.axes and len(node.output.shape) == len(node.inputs[0].shape),
    ),
    (kernels.Pad, lambda kernel, _node, axis: not any(kernel.padding[axis])),
    (
        (kernels.Concatenate, kernels.StridedSlice, kernels.Gather),
        lambda kernel, _node, axis: kernel.axis != axis,
    ),
    (
        (kernels.Convolve, kernels.DepthwiseConvolve),
        lambda kernel, _node, _axis: tuple(kernel.filter.codes.shape[1:3]) == (1, 1) == kernel.stride,
    ),
)  # fmt: skip


def streamed(graph: IntegerGraph) -> IntegerGraph:
    """The graph of one step: its inputs are one sample, and recurrent layers go on from what they were left in.

    Its outputs after the last step of a sequence are those of the whole sequence, bit for bit.

    Raises:
        UserError: If something in front of the last recurrent layer looks at several steps, or what is behind it at
            others than the last; the text names it.
    """
    return _Streaming(graph).run()


class Stream:
    """Runs a graph step by step.

    Args:
        graph: Of whole sequences.

    Attributes:
        graph: Of one step.

    Raises:
        UserError: As `streamed` does.
    """

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = streamed(graph)
        self._states: dict[IntegerNode, State] = {}

    def reset(self) -> None:
        """Forgets all steps: the next one is the first of a sequence."""
        self._states.clear()

    @torch.no_grad()
    def step(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The outputs' codes after one step more.

        Args:
            *inputs: For each input the codes of one step, int8, (N, 1, channels); N sequences in parallel.

        Raises:
            UserError: If it is not one step.
        """
        for x, tensor in zip(inputs, self.graph.inputs, strict=True):
            if tuple(x.shape[1:]) != tensor.shape[1:]:
                wanted = ", ".join(map(str, ("N", *tensor.shape[1:])))
                raise UserError(f"a step is ({wanted}); got {tuple(x.shape)}")
        found: dict[IntegerTensor | Constant, Tensor] = dict(zip(self.graph.inputs, inputs, strict=True))
        for node in self.graph.nodes:
            read = [each.codes if isinstance(each, Constant) else found[each] for each in node.inputs]
            if isinstance(node.kernel, kernels.RecurrentKernel):
                state = self._states.get(node) or node.kernel.begin(len(read[0]))
                found[node.output], self._states[node] = node.kernel.run_from(state, read[0], node.inputs[0].grid)
            else:
                found[node.output] = node.kernel.run(node, read)
        return tuple(found[output] for output in self.graph.outputs)


class _Streaming:
    """Replaces tensors that have steps by those of one step.

    Attributes:
        steps: Of each tensor that has some the axis along which they lie, the batch counted.
        made: By the tensor of the whole sequence that of one step.
    """

    def __init__(self, graph: IntegerGraph) -> None:
        self.graph = graph
        self.steps: dict[IntegerTensor, int] = {}
        self.made: dict[IntegerTensor, IntegerTensor] = {}

    def run(self) -> IntegerGraph:
        """The graph of one step."""
        if not any(isinstance(node.kernel, kernels.RecurrentKernel) for node in self.graph.nodes):
            raise UserError("only a model with a recurrent layer can be fed step by step")
        counts = {tensor.shape[-2] if len(tensor.shape) >= _RANK else 0 for tensor in self.graph.inputs}
        if len(counts) > 1 or 0 in counts:
            shapes = " and ".join(str(list(tensor.shape[1:])) for tensor in self.graph.inputs)
            raise UserError(f"what is fed step by step takes (steps, channels), all inputs as many steps; got {shapes}")
        for tensor in self.graph.inputs:
            self._shorten(tensor, len(tensor.shape) - 2)  # in front of the channels
        nodes = [self._node(node) for node in self.graph.nodes]
        outputs = tuple(self.made[each] for each in self.graph.outputs)
        return replace(
            self.graph, nodes=tuple(nodes), inputs=tuple(self.made[each] for each in self.graph.inputs), outputs=outputs
        )

    def _shorten(self, tensor: IntegerTensor, axis: int) -> None:
        shape = (*tensor.shape[:axis], 1, *tensor.shape[axis + 1 :])
        self.made[tensor], self.steps[tensor] = replace(tensor, shape=shape), axis

    def _node(self, node: IntegerNode) -> IntegerNode:
        axes = {self.steps.get(each) for each in node.inputs if isinstance(each, IntegerTensor)}
        kernel = node.kernel
        if axes == {None}:
            self.made[node.output] = node.output
        elif len(axes) > 1 or (axis := axes.pop()) is None:
            raise self._refused(node, "it brings steps and what has none together")
        elif isinstance(kernel, kernels.StridedSlice) and kernel.axis == axis:
            if not kernel.is_last_of(axis, node.inputs[0].shape[axis]):
                raise self._refused(node, "it reads another step than the last")
            kernel = kernels.Reshape()
            self.made[node.output] = node.output
        elif isinstance(kernel, kernels.Reshape):
            self._reshape(node, axis)
        elif _differs(node, axis):
            raise self._refused(node, "its constant is not the same in every step")
        elif _is_of_one_step(node, axis):
            self._shorten(node.output, axis)
        else:
            raise self._refused(node, "it looks at several steps")
        inputs = tuple(self.made[each] if isinstance(each, IntegerTensor) else each for each in node.inputs)
        return replace(node, kernel=kernel, inputs=inputs, output=self.made[node.output])

    def _reshape(self, node: IntegerNode, axis: int) -> None:
        source, target = node.inputs[0].shape, node.output.shape
        before = math.prod(source[:axis])
        for place, size in enumerate(target):
            if size == source[axis] and math.prod(target[:place]) == before:
                self._shorten(node.output, place)
                return
        raise self._refused(node, "it joins steps")

    @staticmethod
    def _refused(node: IntegerNode, reason: str) -> UserError:
        kind = type(node.kernel).__name__
        return UserError(
            f"{node.path or '(root)'}: {kind} ({node.output.name}) can't be fed step by step: {reason}. What can are "
            "recurrent layers of one direction, what computes each step by itself, and what reads their last state"
        )


def _is_of_one_step(node: IntegerNode, axis: int) -> bool:
    return any(isinstance(node.kernel, kinds) and rule(node.kernel, node, axis) for kinds, rule in _OF_ONE_STEP)


def _differs(node: IntegerNode, axis: int) -> bool:
    """Whether a constant operand has an element for each step."""
    behind = len(node.inputs[0].shape) - axis
    constants = (each for each in node.inputs if isinstance(each, Constant))
    return any(len(each.shape) >= behind and each.shape[-behind] > 1 for each in constants)
