"""`to_keras`: the same architecture and weights as a Keras model."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

from torch import nn

from mcubench.errors import UserError
from mcubench.graph import Graph, ops, trace
from mcubench.graph.ir import Node, Unknown, Value, Weight
from mcubench.graph.passes import channels_last
from mcubench.parity.backend import keras_on_cpu, load_keras, quiet
from mcubench.parity.building import Adapt, CannotBuildError, Site, build, unread, watched
from mcubench.parity.naming import first_free, labels

__all__ = ["as_graph", "build_model", "graph_for_keras", "save_model", "to_keras"]


def to_keras(
    module_or_graph: nn.Module | Graph,
    example_input: Any = None,
    *,
    backend: str | None = None,
    batch_dim: int | None = 0,
) -> Any:
    """Builds the Keras model that computes what a module does at inference.

    It takes its inputs with the channels last where they feed convolutions (shape (N, height, width, channels)), and
    what is flattened behind convolutions is permuted in the next layer's kernel. The operation that makes a module's
    output is named by the module's path; what had to be put before it, as explicit padding, by the path and a hyphen.

    Args:
        module_or_graph: Any module, or its graph.
        example_input: One sample, as `mcubench.graph.trace` takes it; not needed if the module has an
            ``example_input_array``, and for a graph.
        backend: The backend of Keras, ``tensorflow`` or ``torch``; see `mcubench.parity.load_keras`.
        batch_dim: Where the batch stands in the example.

    Returns:
        A functional ``keras.Model``, on the CPU, float32, not compiled.

    Raises:
        UserError: If Keras is not there, or an operation has no counterpart: the text names it and its path.
        TraceError: If the module can't be traced.
    """
    graph = as_graph(module_or_graph, example_input, batch_dim)
    keras = load_keras(backend)
    name = type(module_or_graph).__name__ if isinstance(module_or_graph, nn.Module) else "graph"
    return build_model(keras, graph_for_keras(graph), name)


def build_model(keras: Any, graph: Graph, name: str, adapt: Adapt | None = None) -> Any:
    """Builds a graph with its channels last; `adapt` may change the options of layers."""
    state = random.getstate()  # Keras draws seeds for initial weights, which are replaced
    try:
        with keras_on_cpu(keras):
            return _Builder(keras, graph, adapt).model(name)
    finally:
        random.setstate(state)


def save_model(model: Any, target: Path) -> None:
    """Writes a Keras model to a ``.keras`` file, which is there whole or not at all.

    ``keras.saving.load_model`` reads it, on the tensorflow backend: Keras' torch backend allows no dot in the names of
    layers, which the paths of modules have. A model with a `Constant` (a class token, say) also needs ``import
    mcubench.parity.keras_layers`` first.
    """
    target.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".mcubench-") as folder:
        made = Path(folder) / target.name
        with quiet():  # it looks for tensorflow, on any backend
            model.save(made)
        made.replace(target)


def as_graph(module_or_graph: nn.Module | Graph, example_input: Any, batch_dim: int | None = 0) -> Graph:
    """The graph of a module, or the graph itself."""
    if isinstance(module_or_graph, Graph):
        return module_or_graph
    if example_input is None:
        example_input = getattr(module_or_graph, "example_input_array", None)
    if example_input is None:
        raise UserError(
            f"give one sample as example_input, as in torch.zeros(1, 3, 32, 32): {type(module_or_graph).__name__} has "
            "no example_input_array"
        )
    return trace(module_or_graph, example_input, batch_dim)


def graph_for_keras(graph: Graph) -> Graph:
    """A graph with its channels last, which Keras has a counterpart for.

    Raises:
        UserError: If a node has none whatever its options are.
    """
    for node in graph.nodes:
        where = f"{node.path or '(root)'}: {node.op.label}"
        if isinstance(node.op, Unknown):
            raise UserError(f"can't be built in Keras: {where}, as it is not understood ({node.op.reason})")
        if isinstance(node.op, ops.FakeQuantize):
            raise UserError(
                f"can't be built in Keras: {where} rounds to integers; compare the float model: switch fake "
                "quantisation off first"
            )
    return graph if graph.layout == "channels_last" else channels_last(graph)


class _Builder:
    def __init__(self, keras: Any, graph: Graph, adapt: Adapt | None) -> None:
        self.adapt = adapt
        self.keras = keras
        self.graph = graph
        self.labels = labels(graph)
        self.layers: dict[str, Any] = {}
        self.tensors: dict[Value, Any] = {}
        self.names: dict[Any, str] = {}  # of Keras operations
        self.taken: set[str] = set()

    def model(self, name: str) -> Any:
        inputs = []
        taken = {label.replace(".", "_") for label in self.labels.values()}
        for value in self.graph.inputs:
            dtype, wanted = str(value.dtype).removeprefix("torch."), value.name.replace(".", "_")
            name_of_input = f"{wanted}-input" if wanted in taken else wanted
            inputs.append(self.keras.Input(value.shape, dtype=dtype, name=name_of_input))
            self.tensors[value] = inputs[-1]
        for node in self.graph.nodes:
            self._build(node)
        outputs = [self._output(value) for value in self.graph.outputs]
        for operation, label in self.names.items():
            operation.name = label  # only now: variables are named after their layers, and may have no dot on torch
        return self.keras.Model(
            inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs, name=name
        )

    def _output(self, value: Value) -> Any:
        tensor = self.tensors[value]
        if value in self.graph.inputs:
            return self.keras.layers.Identity(name=self._unique(f"{value.name}-output"))(tensor)
        return tensor

    def _build(self, node: Node) -> None:
        label = self.labels[node]
        inputs = [self.tensors[value] for value in node.inputs]
        at = Site(self.keras, node, label, inputs, self.layers, self._trainable, self.adapt)
        op = watched(node.op)
        try:
            made = build(op, at)
            if passed_over := unread(op):
                raise CannotBuildError(f"its counterpart would pass over {' and '.join(passed_over)}")
        except CannotBuildError as error:
            where = f"{node.path or '(root)'}: {node.op.label}"
            raise UserError(f"can't be built in Keras: {where}: {error}") from error
        if made is at.x:  # nothing to do, but its name is to be there
            made = at.layer("Identity", made)
        for value, tensor in zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False):
            self.tensors[value] = tensor
        first = self.tensors[node.output]._keras_history.operation
        for operation in at.operations:
            if operation not in self.names:
                wanted = label if operation is first else f"{label}-{type(operation).__name__.lower()}"
                self.names[operation] = self._unique(wanted)

    def _trainable(self, weight: Weight) -> bool:
        return bool(weight.sources) and all(source in self.graph.parameters for source in weight.sources)

    def _unique(self, name: str) -> str:
        found = first_free(name, self.taken, between="-")
        self.taken.add(found)
        return found
