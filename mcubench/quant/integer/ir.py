"""The integer graph: one node a TFLite Micro kernel, int8 tensors between them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mcubench.quant.grid import Grid

__all__ = [
    "Bias",
    "Constant",
    "Decision",
    "Filter",
    "IntegerGraph",
    "IntegerNode",
    "IntegerTensor",
    "Kernel",
    "Operand",
]


@dataclass(frozen=True, eq=False)
class IntegerTensor:
    """A tensor of int8 or int16 that one kernel writes and others read.

    Places in a table and sums that nobody rescales are of int32, and a classical model may have float32 throughout.

    Attributes:
        name: Unique in the graph: the name of the value that it holds.
        shape: With the batch, which is 1 on a device, in front; images and signals are (1, height, width, channels).
        grid: What its codes stand for.
        width: Bytes of an element: 1, 2 or 4.
    """

    name: str
    shape: tuple[int, ...]
    grid: Grid
    width: int = 1

    @property
    def real(self) -> bool:
        """Whether it holds float32, and no codes."""
        return self.grid.bits == 32

    @property
    def dtype(self) -> torch.dtype:
        """Of its elements."""
        if self.real:
            return torch.float32
        return {1: torch.int8, 2: torch.int16, 4: torch.int32}[self.width]

    @property
    def ctype(self) -> str:
        """The same in C."""
        return "float" if self.real else f"int{8 * self.width}_t"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.width * self.size


@dataclass(frozen=True, eq=False)
class Filter:
    """The weights of a layer.

    Attributes:
        name: Path of the parameter.
        codes: int8, in the kernel's layout.
        scales: float32, one for each output channel.
        axis: That of the output channels.
        bits: Width that the codes were made for: 2, 4 or 8.
    """

    name: str
    codes: Tensor
    scales: Tensor
    axis: int
    bits: int


@dataclass(frozen=True, eq=False)
class Bias:
    """Biases of a layer.

    Attributes:
        name: Path of the parameter.
        codes: int32, one for each output channel.
        scales: float32: those of the input times those of the weights.
    """

    name: str
    codes: Tensor
    scales: Tensor


@dataclass(frozen=True, eq=False)
class Constant:
    """A constant operand; int8 or int16 codes on a grid."""

    name: str
    codes: Tensor
    grid: Grid

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, with a batch of 1 in front."""
        return tuple(self.codes.shape)


# The first of the largest output; of a single one whether it is above 0, or 0 as well; or the output is the class.
Decision = Literal["largest", "positive", "not_negative", "class"]

Operand = IntegerTensor | Constant


class Kernel:
    """What a node computes. Subclasses are frozen dataclasses, in `mcubench.quant.integer.kernels`."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes, int8, (N, *shape without its batch), of codes."""
        raise NotImplementedError

    def filters(self) -> Iterator[Filter]:
        """The weights it holds."""
        return (each for each in vars(self).values() if isinstance(each, Filter))


@dataclass(frozen=True, eq=False)
class IntegerNode:
    """One call of a kernel.

    Attributes:
        name: Of the node of the float graph that it comes from.
        path: Path of the module.
        kernel: What it computes.
        inputs: What it reads.
        output: What it writes.
    """

    name: str
    path: str
    kernel: Kernel
    inputs: tuple[Operand, ...]
    output: IntegerTensor


@dataclass(frozen=True)
class IntegerGraph:
    """A model in int8, as TFLite Micro runs it.

    Attributes:
        nodes: In execution order.
        inputs: What the application supplies.
        outputs: What it gets.
        input_axes_moved: For each input the number of spatial axes that its channels were moved behind.
        output_axes_moved: The same for each output.
        notes: What is worth knowing about how it was made.
        decision: How the outputs of a classifier say which class it is.
        labels: The classes that they tell apart, where these are not all from 0 on.
    """

    nodes: tuple[IntegerNode, ...]
    inputs: tuple[IntegerTensor, ...]
    outputs: tuple[IntegerTensor, ...]
    input_axes_moved: tuple[int, ...]
    output_axes_moved: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())
    decision: Decision = "largest"
    labels: tuple[int, ...] | None = None

    def encode(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs of the float model, (N, *shape) channels first, as they are supplied: int8; integers int32."""
        found = []
        for x, tensor, moved in zip(inputs, self.inputs, self.input_axes_moved, strict=True):
            stored = x.movedim(-1 - moved, -1) if moved else x
            places = tensor.width == 4 and not tensor.real
            codes = stored.int() if places else tensor.grid.codes(stored)
            found.append(codes.reshape(len(x), *tensor.shape[1:]))
        return tuple(found)

    def decode(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        """What codes of the outputs stand for, float32, shape (N, *tensor's)."""
        return tuple(tensor.grid.values(codes) for codes, tensor in zip(outputs, self.outputs, strict=True))

    def classes(self, outputs: Tensor) -> Tensor:
        """The class of each sample, int64, shape (N,), by the only output's elements, (N, ...)."""
        found = self.indices(outputs)
        return found if self.labels is None else torch.tensor(self.labels)[found]

    def indices(self, outputs: Tensor) -> Tensor:
        """The same, counted from 0 on, whatever the labels are."""
        rows, zero = outputs.flatten(1), 0 if self.outputs[0].real else self.outputs[0].grid.zero_point
        if self.decision == "largest":
            return rows.argmax(1)  # the first of them
        first = rows[:, 0]
        found = {"class": first, "positive": first > zero, "not_negative": first >= zero}[self.decision]
        return found.long()

    def __str__(self) -> str:
        lines = [f"input  {each.name} {list(each.shape)} {each.grid}" for each in self.inputs]
        for node in self.nodes:
            read = ", ".join(each.name for each in node.inputs)
            kernel, output = type(node.kernel).__name__, node.output
            lines.append(f"{output.name} {list(output.shape)} = {kernel}({read})  # {node.path or '(root)'}")
        return "\n".join(lines)
