"""The steps of a C program: an integer graph with what one function computes in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcubench.quant.integer.ir import IntegerGraph, IntegerNode, IntegerTensor, Kernel, Operand
    from mcubench.quant.integer.kernels import MaxPool

__all__ = ["Program", "Step", "program_of"]

_CONVOLUTIONS = ("Convolve", "DepthwiseConvolve")
_RECURRENT = ("Lstm", "Gru")


@dataclass(frozen=True, eq=False)
class Step:
    """What one function computes.

    Attributes:
        path: Path of the module; that of the layer, where pooling or padding is part of it.
        kernel: The kernel, with padding that stood before it.
        inputs: What it reads, in the shape in which it does; where it lies, `Program.bases` knows.
        output: What it writes.
        pool: Maxima that are taken of sums before they are rescaled, which gives the same codes: rescaling is monotone.
        last: Whether a recurrent layer writes its state after the last step alone.
        kept: Whether it goes on from the state that its caller keeps.
    """

    path: str
    kernel: Kernel
    inputs: tuple[Operand, ...]
    output: IntegerTensor
    pool: MaxPool | None = None
    last: bool = False
    kept: bool = False

    @property
    def kind(self) -> str:
        """Name of the kernel's class, which emitters are found by."""
        return type(self.kernel).__name__

    @property
    def x(self) -> Operand:
        """The first of what it reads."""
        return self.inputs[0]


@dataclass(frozen=True, eq=False)
class Program:
    """A model as steps.

    Attributes:
        steps: In order.
        inputs: What the caller supplies.
        outputs: What the caller gets.
        bases: For each tensor the one whose bytes it is: a reshaped tensor is what it was before.
    """

    steps: tuple[Step, ...]
    inputs: tuple[IntegerTensor, ...]
    outputs: tuple[IntegerTensor, ...]
    bases: Mapping[Operand, IntegerTensor]


def program_of(graph: IntegerGraph, pooled: bool = True, kept: bool = False) -> Program:
    """Joins what is computed together, and leaves out what computes nothing.

    Padding with zeros becomes the convolution's own, max-pooling over windows side by side is part of the convolution
    before it, a recurrent layer of which the last state alone is read writes no other, and a reshape is another name
    for the same bytes, unless it leads from an input to an output; so are places in a table. An output that is an
    input, or another output, is copied.

    Args:
        graph: The graph.
        pooled: Whether pooling becomes part of convolutions.
        kept: Whether recurrent layers go on from where the last call ended.
    """
    from mcubench.quant.integer.kernels import Reshape

    readers: dict[Operand, int] = dict.fromkeys(graph.outputs, 1)
    for node in graph.nodes:
        for each in node.inputs:
            readers[each] = readers.get(each, 0) + 1
    bases: dict[Operand, IntegerTensor] = {tensor: tensor for tensor in graph.inputs}
    steps: list[Step] = []
    made: dict[Operand, Step] = {}  # by what a step writes, where nobody else reads it
    for node in graph.nodes:
        bases[node.output] = node.output
        if _is_another_name(node, graph, bases):
            bases[node.output] = bases[node.inputs[0]]
            continue
        step = Step(node.path, node.kernel, node.inputs, node.output, kept=kept and _is_recurrent(node.kernel))
        before = made.get(bases.get(step.x, step.x))
        if before is not None and before.output.shape != step.x.shape:
            before = None  # reshaped in between
        if before is not None and (joined := _joined(before, step, pooled)) is not None:
            steps.remove(before)
            step = joined
        steps.append(step)
        if readers.get(node.output) == 1 and node.output not in graph.outputs:
            made[node.output] = step
    outputs: list[IntegerTensor] = []
    for tensor in graph.outputs:
        if tensor not in graph.inputs and tensor not in outputs:
            outputs.append(tensor)
            continue
        copied = replace(tensor, name=f"{tensor.name}.copied_{len(outputs)}")  # the first has another place
        steps.append(Step("", Reshape(), (tensor,), copied))
        bases[copied] = copied
        outputs.append(copied)
    return Program(tuple(steps), graph.inputs, tuple(outputs), bases)


def _is_another_name(node: IntegerNode, graph: IntegerGraph, bases: Mapping[Operand, IntegerTensor]) -> bool:
    """Whether a node reshapes what may keep its place: an output has one of its own, and so has an input."""
    source, kind = bases.get(node.inputs[0]), type(node.kernel).__name__
    if kind == "Places":
        return True  # in a table that codes are looked up in as they are
    if kind != "Reshape" or source is None:
        return False
    taken = {*graph.inputs, *(bases[each] for each in graph.outputs if each in bases and each is not node.output)}
    return node.output not in graph.outputs or source not in taken


def _is_recurrent(kernel: Kernel) -> bool:
    return type(kernel).__name__ in _RECURRENT


def _joined(before: Step, step: Step, pooled: bool) -> Step | None:
    """Two steps as one, if that computes the same."""
    if step.kind in _CONVOLUTIONS and before.kind == "Pad":
        return _padded(before, step)
    if _is_recurrent(before.kernel) and step.kind == "StridedSlice":
        is_last = step.kernel.is_last_of(1, before.output.shape[1])  # type: ignore[attr-defined]
        return replace(before, output=step.output, last=True) if is_last else None
    if pooled and step.kind == "MaxPool" and before.kind in _CONVOLUTIONS and before.pool is None:
        pool = step.kernel
        if pool.window != pool.stride or any(map(any, pool.padding)):  # type: ignore[attr-defined]
            return None
        return replace(before, output=step.output, pool=pool)  # type: ignore[arg-type]
    return None


def _padded(before: Step, step: Step) -> Step | None:
    """A convolution with the padding that stands before it."""
    around = before.kernel.padding  # type: ignore[attr-defined]
    if before.kernel.code is not None or any(around[0]) or any(around[3]):  # type: ignore[attr-defined]
        return None
    padding = tuple(
        (own[0] + put[0], own[1] + put[1])
        for own, put in zip(step.kernel.padding, around[1:3], strict=True)  # type: ignore[attr-defined]
    )
    kernel = replace(step.kernel, padding=padding)  # type: ignore[type-var]
    return replace(step, kernel=kernel, inputs=before.inputs)
