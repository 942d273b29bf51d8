"""The graph: nodes in execution order, the values between them, and the weights they hold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

__all__ = ["Call", "Graph", "Input", "Node", "Op", "TensorShape", "Unknown", "Value", "Weight", "reaching"]


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that one node makes and others read.

    Attributes:
        name: Unique in the graph.
        shape: Shape of one sample: the batch is not in it, wherever it stood in the traced tensor.
        dtype: As traced, before any quantisation.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Number of elements for one sample."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor that is known before the model runs: a parameter, a buffer, or what is computed from these alone.

    Attributes:
        name: Path of the parameter or buffer; of what is computed, the name of the operation.
        tensor: Its value, on the CPU; a copy, so that training on does not change a graph.
        sources: Paths of the parameters and buffers that it was computed from.
        stored: The same object for all forms of what a device stores once.
        part_of: What is stored of which this is a slice, if it is one.
    """

    name: str
    tensor: Tensor
    sources: tuple[str, ...] = ()
    stored: object = field(default_factory=object)
    part_of: object = None

    @property
    def size(self) -> int:
        """Number of elements that are stored: those that an expanded axis repeats are stored once."""
        strides = zip(self.tensor.shape, self.tensor.stride(), strict=True)
        return math.prod(size for size, stride in strides if stride or size == 0)

    def derive(self, tensor: Tensor) -> Weight:
        """The same weight in another form (transposed, reshaped): it is stored once, so the name stays."""
        return replace(self, tensor=tensor)


@dataclass(frozen=True)
class Input:
    """Stands for ``node.inputs[index]`` among the operands of an op that takes weights and numbers too."""

    index: int


Operand = Input | Weight | float | int | bool | None


class Op:
    """What a node computes. Subclasses are frozen dataclasses, in `mcubench.graph.ops`."""

    def weights(self) -> Iterator[tuple[str, Weight]]:
        """The weights it holds, each with its role, which is the field's name (or the position among operands)."""
        for role, value in vars(self).items():
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, Weight):
                    yield role, each

    @property
    def label(self) -> str:
        """A few words for tables."""
        return type(self).__name__


@dataclass(frozen=True, eq=False)
class Unknown(Op):
    """An operation that could not be lowered; whoever reads the graph must name it, not pass over it.

    Attributes:
        target: The traced operation, as in ``aten.fft_fft.default``.
        reason: Why it could not be lowered.
        operands: The weights among its arguments.
        across_samples: Whether what it does with one sample of a batch can't be told from what it does with others.
    """

    target: str
    reason: str
    operands: tuple[Weight, ...] = ()
    across_samples: bool = False

    @property
    def label(self) -> str:
        """The operation's name, marked."""
        return f"{self.target} (?)"


@dataclass(frozen=True)
class TensorShape:
    """Shape of a tensor in a traced call, for a batch of one sample.

    Attributes:
        shape: As traced; every axis stands where it stood.
        dtype: Its type.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Call:
    """One call of a torch operator, as it was traced: what the MAC table looks at.

    Attributes:
        target: The operator's full name, as in ``aten.conv2d.default``.
        args: Its arguments in the order of its schema, defaults filled in; a `TensorShape` for each tensor.
        outputs: What it returned.
    """

    target: str
    args: tuple[Any, ...]
    outputs: tuple[TensorShape, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """One step of the model.

    Attributes:
        name: Unique in the graph.
        op: What it computes.
        inputs: Values that it reads.
        outputs: Values that it makes.
        path: Path of the module that it came from; empty for the outermost one.
        calls: The traced calls that it stands for: its own, and those of the nodes that were fused into it.
    """

    name: str
    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    path: str
    calls: tuple[Call, ...] = ()

    @property
    def output(self) -> Value:
        """The first output; most nodes have one."""
        return self.outputs[0]


@dataclass(frozen=True)
class Graph:
    """A model as a microcontroller runs it: one sample, nodes in execution order.

    Attributes:
        nodes: In an order in which every value is made before it is read.
        inputs: Values that the application supplies.
        outputs: Values that it gets.
        parameters: Number of elements of every parameter of the module, by path, each shared one once.
        layout: Where the channels stand in the inputs of spatial operations: ``channels_first`` or ``channels_last``.
        input_axes_moved: For each input the number of spatial axes that its channels were moved behind; empty in a
            graph as traced.
        output_axes_moved: The same for each output.
        notes: What is worth knowing about how it was traced.
        states: Paths of the buffers that a call of the module leaves to the next one; they are constants here.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    parameters: Mapping[str, int] = field(default_factory=dict)
    layout: str = "channels_first"
    input_axes_moved: tuple[int, ...] = ()
    output_axes_moved: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    states: tuple[str, ...] = ()

    def unknown(self) -> list[Node]:
        """The nodes that could not be lowered."""
        return [node for node in self.nodes if isinstance(node.op, Unknown)]

    def producers(self) -> dict[Value, Node]:
        """The node that makes each value; inputs of the graph have none."""
        return {value: node for node in self.nodes for value in node.outputs}

    def consumers(self) -> dict[Value, list[Node]]:
        """The nodes that read each value; one that reads it twice is listed once."""
        readers: dict[Value, list[Node]] = {value: [] for value in self.inputs}
        for node in self.nodes:
            for value in node.outputs:
                readers[value] = []
            for value in dict.fromkeys(node.inputs):
                readers[value].append(node)
        return readers

    def __str__(self) -> str:
        lines = [f"input  {value.name} {list(value.shape)}" for value in self.inputs]
        for node in self.nodes:
            read = ", ".join(value.name for value in node.inputs)
            made = ", ".join(f"{value.name} {list(value.shape)}" for value in node.outputs)
            lines.append(f"{made} = {node.op.label}({read})  # {node.path or '(root)'}")
        lines.append(f"output {', '.join(value.name for value in self.outputs)}")
        return "\n".join(lines)


def reaching(nodes: Sequence[Node], outputs: Iterable[Value]) -> tuple[Node, ...]:
    """The nodes that contribute to an output; the rest need not run."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    return tuple(reversed(kept))
