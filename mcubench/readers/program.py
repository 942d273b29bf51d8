"""What a file computes, written down as calls of torch's operators: just what torch.export finds in a module.

So a file is lowered by the rules that modules are lowered by, and each format needs only a table from its operators to
torch's. Nothing is computed while it is written: tensors are of torch's ``meta`` device, which has shapes only, so that
it takes a few milliseconds.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

from mcubench.graph.aliases import by_usual_name
from mcubench.graph.capture import Captured, traced_path
from mcubench.graph.ir import Graph, Unknown
from mcubench.graph.lowering import lower
from mcubench.graph.trace import PRIMES, is_ambiguous
from mcubench.readers.shape_rules import made_by

__all__ = ["FileInput", "Program", "graph_of"]


@dataclass(frozen=True)
class FileInput:
    """An input of a file.

    Attributes:
        name: What the file calls it.
        shape: Of one sample, the batch of 1 included, if it has one.
        dtype: Of its elements.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32


class Program:
    """Calls of torch's operators, in order."""

    def __init__(self, batch: int | None) -> None:
        """An empty program.

        Args:
            batch: Number of samples, along the first axis of all inputs; ``None`` if an input is a sample as it is.
        """
        self._batch = batch
        self._graph = fx.Graph()
        self._tensors: dict[str, tuple[str, Tensor]] = {}
        self._inputs: list[str] = []
        self._weights: dict[str, fx.Node] = {}
        self._parameters: dict[str, int] = {}
        self._path = ""

    @property
    def samples(self) -> int:
        """How many there are in the batch; 1 if an input is a sample as it is."""
        return self._batch or 1

    def input(self, given: FileInput) -> fx.Node:
        """What the application supplies."""
        batch = () if self._batch is None else (self._batch,)
        shape = (*batch, *given.shape[len(batch) :])
        node = self._placeholder(given.name, torch.empty(shape, dtype=given.dtype, device="meta"))
        self._inputs.append(node.name)
        return node

    def weight(self, path: str, tensor: Tensor, is_parameter: bool = True) -> fx.Node:
        """A tensor that stands in the file; the same one for the same path.

        Args:
            path: What it is called.
            tensor: Its value.
            is_parameter: Whether it counts as one, if it holds floats; running statistics do not.
        """
        if path not in self._weights:
            node = self._placeholder(path, torch.empty_like(tensor, device="meta"))
            self._weights[path], self._tensors[node.name] = node, (path, tensor)
            if is_parameter and tensor.is_floating_point():
                self._parameters[path] = tensor.numel()
        return self._weights[path]

    @contextlib.contextmanager
    def at(self, path: str) -> Iterator[None]:
        """Has what is called within be of a layer."""
        before, self._path = self._path, path
        try:
            yield
        finally:
            self._path = before

    def call(self, target: torch._ops.OpOverload, /, *args: Any, **kwargs: Any) -> fx.Node:
        """Calls an operator.

        Args:
            target: An overload, as in ``torch.ops.aten.conv2d.default``.
            *args: Its arguments: nodes for tensors, numbers and lists for others.
            **kwargs: The same, by name.

        Returns:
            What it returns; where that is several tensors, take them with ``operator.getitem`` as `item` does.

        Raises:
            Exception: What the operator raises for arguments that do not fit.
        """
        shapes, named = fx.map_arg((args, kwargs), lambda node: node.meta["val"])
        return self._called(target, args, kwargs, made_by(target, shapes, named))

    def item(self, several: fx.Node, index: int) -> fx.Node:
        """One of the tensors that a call returned."""
        return self._called(operator.getitem, (several, index), {}, several.meta["val"][index])

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        """Of what a call returned, for one sample: the batch counts as 1."""
        found = tuple(int(size) for size in node.meta["val"].shape)
        return tuple(size // self.samples if size and size % self.samples == 0 else size for size in found)

    def finish(self, outputs: Sequence[fx.Node]) -> Captured:
        """What was written, to be lowered."""
        self._graph.output(tuple(outputs))
        return Captured(
            graph=self._graph,
            tensors=self._tensors,
            inputs=tuple(self._inputs),
            outputs=tuple(outputs),
            batch=self.samples,
            batch_axis=None if self._batch is None else 0,
            parameters=self._parameters,
            repeats=0,
            states=(),
        )

    def _placeholder(self, name: str, shape: Tensor) -> fx.Node:
        node = self._graph.placeholder("".join(each if each.isalnum() else "_" for each in name) or "unnamed")
        node.meta["val"] = shape
        return node

    def _called(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], made: Any) -> fx.Node:
        node = self._graph.call_function(target, args, kwargs)
        node.meta["val"] = made
        by_usual_name(node)
        if self._path:
            node.meta["nn_module_stack"] = {self._path: (traced_path(self._path), "")}
        return node


Write = Callable[[Program, Sequence[fx.Node]], Sequence[fx.Node]]


def graph_of(inputs: Sequence[FileInput], write: Write) -> Graph:
    """The graph of a file.

    As in `mcubench.graph.trace`, a prime number of samples is written down, so that it is known where they stand; a
    file that can't be run on several has an input as its only sample.

    Args:
        inputs: Those of the file.
        write: Writes the program: takes it and its inputs, and returns its outputs. It may be called several times.

    Raises:
        Exception: What `write` raises for one sample.
    """
    sizes = {size for each in inputs for size in each.shape}
    has_batch = all(each.shape[:1] == (1,) for each in inputs)
    if has_batch:
        for prime in [prime for prime in PRIMES if all(size % prime for size in sizes if size)][:2]:
            try:
                captured = _written(inputs, write, prime)
            except Exception:  # whatever an operator says of so many samples; one sample tells what is wrong
                break
            if is_ambiguous(captured.graph, prime):
                continue
            graph = lower(captured)
            if not any(isinstance(node.op, Unknown) and node.op.across_samples for node in graph.nodes):
                return graph
            break
    found = [lower(_written(inputs, write, batch)) for batch in ((1, None) if has_batch else (None,))]
    graph = next((each for each in found if not each.unknown()), found[0])
    note = "written down for a single sample: where the samples of a batch stand can't be told from the file"
    return replace(graph, notes=(*graph.notes, note))


def _written(inputs: Sequence[FileInput], write: Write, batch: int | None) -> Captured:
    program = Program(batch)
    return program.finish(write(program, [program.input(each) for each in inputs]))
