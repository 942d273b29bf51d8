"""From a copy of a module to torch.export's list of operator calls."""

from __future__ import annotations

import contextlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mcubench.errors import TraceError, UserError
from mcubench.graph.aliases import by_usual_name
from mcubench.graph.copying import Copy
from mcubench.graph.example import Example
from mcubench.graph.inlining import inline_regions
from mcubench.graph.outputs import output_tensors
from mcubench.graph.strangers import identity
from mcubench.graph.surroundings import for_tracing

__all__ = ["Captured", "RepeatsError", "capture", "exported", "module_path", "traced_path"]


@dataclass(frozen=True)
class Captured:
    """What torch.export found.

    Attributes:
        graph: Calls of ATen operators, functional (nothing is changed in place).
        tensors: Parameters, buffers and constants by placeholder, with their paths.
        inputs: Names of the placeholders that the application supplies.
        outputs: The nodes that are returned.
        batch: Number of samples in the traced batch.
        batch_axis: Where the batch stands in the inputs; ``None`` if the whole input is one sample.
        parameters: Number of elements of each parameter of the module.
        repeats: How often the layer that was called most often was called.
        states: Paths of the buffers that a forward leaves to the next one.
    """

    graph: fx.Graph
    tensors: dict[str, tuple[str, Tensor]]
    inputs: tuple[str, ...]
    outputs: tuple[fx.Node, ...]
    batch: int
    batch_axis: int | None
    parameters: dict[str, int]
    repeats: int
    states: tuple[str, ...]


class RepeatsError(Exception):
    """A layer is called more often than was allowed.

    Attributes:
        layer: The layer.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__(f"{type(layer).__name__} is called again and again")
        self.layer = layer


class _Root(nn.Module):
    """Has any forward be one that torch.export takes: a function that returns tensors alone."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.traced = module

        def forward(*args: Any, **kwargs: Any) -> list[Tensor]:
            return output_tensors(module(*args, **kwargs))

        with contextlib.suppress(TypeError, ValueError):  # of what is scripted there is none
            forward.__signature__ = inspect.signature(module.forward)  # type: ignore[attr-defined]
        self.forward = forward


_PREFIX = "traced"


def traced_path(path: str) -> str:
    """The path in a trace of a module that was traced."""
    return f"{_PREFIX}.{path}"


def module_path(traced: str) -> str:
    """The path of a module or tensor in the module that was traced, from its path in the trace."""
    return traced.removeprefix(_PREFIX).removeprefix(".")


def capture(copied: Copy, example: Example, batch: int, limit: int | None = None) -> Captured:
    """Exports a copy of a module with a batch of the same sample.

    Args:
        copied: The copy.
        example: One sample.
        batch: How many times it is repeated.
        limit: How often a layer, which is a module with parameters of its own, may be called.

    Raises:
        RepeatsError: If one is called more often.
        TraceError: If forward returns no tensors, or runs what could not be copied.
        Exception: Any other, as forward may.
    """
    clone = copied.module
    with for_tracing(clone), copied.running(), _counting(limit) as calls, _assigning(clone) as assigned:
        given = example.repeated(batch)
        try:
            program = exported(clone, given)
        except UserError as error:
            raise TraceError(f"{type(copied.original).__name__} can't be traced: {error}") from error
        for node in program.graph.nodes:
            _out_of_place(node)
            by_usual_name(node)
        states = _states(program, assigned)
        if any(_mutates(node) for node in program.graph.nodes):
            program = program.run_decompositions({})  # makes it functional, and decomposes nothing
    signature = program.graph_signature
    # A tied weight is known by the first of its paths.
    first_path = {(each.data_ptr(), each.shape): name for name, each in clone.named_parameters() if each.numel()}
    tensors: dict[str, tuple[str, Tensor]] = {}
    state, constants = dict(program.state_dict), dict(program.constants)
    for placeholders, source in (
        (signature.inputs_to_parameters, state),
        (signature.inputs_to_buffers, {**constants, **state}),
        (signature.inputs_to_lifted_tensor_constants, constants),
    ):
        for placeholder, path in placeholders.items():
            tensor = source[path]
            known = first_path.get((tensor.data_ptr(), tensor.shape), module_path(path))
            tensors[placeholder] = known, tensor.detach()
    return Captured(
        graph=program.graph,
        tensors=tensors,
        inputs=tuple(name for name in signature.user_inputs if isinstance(name, str)),
        outputs=_outputs(program),
        batch=batch,
        batch_axis=example.batch_dim,
        parameters={name: parameter.numel() for name, parameter in clone.named_parameters()},
        repeats=max(calls.values(), default=0),
        states=states,
    )


@contextlib.contextmanager
def _assigning(module: nn.Module) -> Iterator[set[str]]:
    """Collects the paths of buffers that are assigned anew."""
    paths = {id(each): name for name, each in module.named_modules()}
    found: set[str] = set()

    def note(owner: nn.Module, name: str, _buffer: Tensor | None) -> None:
        if (path := paths.get(id(owner))) is not None:
            found.add(f"{path}.{name}" if path else name)

    with torch.nn.modules.module.register_module_buffer_registration_hook(note):
        yield found


def _states(program: torch.export.ExportedProgram, assigned: set[str]) -> tuple[str, ...]:
    """Buffers that a forward changes, and whose values from before its outputs depend on.

    Args:
        program: What was traced, as it was.
        assigned: Paths of buffers that were assigned, of which the trace need not know.
    """
    buffers = {name: module_path(path) for name, path in program.graph_signature.inputs_to_buffers.items()}
    changed = {_viewed(node.args[0]) for node in program.graph.nodes if _mutates(node)}
    read, pending = set[fx.Node](), list(_outputs(program))
    while pending:
        node = pending.pop()
        if node not in read:
            read.add(node)
            pending += node.all_input_nodes
    found = [(node, buffers[node.name]) for node in program.graph.nodes if node.name in buffers and node in read]
    return tuple(path for node, path in found if node in changed or path in assigned)


def _viewed(value: Any) -> Any:
    """What a node is a view of, or the node."""
    while isinstance(value, fx.Node) and (schema := getattr(value.target, "_schema", None)) is not None:
        if not value.args or not any(each.alias_info for each in schema.returns):
            break
        value = value.args[0]
    return value


def exported(
    module: nn.Module, given: Example, dynamic: Callable[..., Any] | None = None
) -> torch.export.ExportedProgram:
    """What torch.export finds in a copy of a module, with regions put back where they are called.

    Args:
        module: The copy, in the surroundings that tracing wants.
        given: Arguments of its forward.
        dynamic: Makes of the tensors among them, the traced module and its arguments what torch.export is told of sizes
            that vary.
    """
    root = _Root(module)
    shapes = None if dynamic is None else dynamic(list(given.tensors()), root, given.args, given.kwargs)
    program = torch.export.export(root, given.args, given.kwargs, dynamic_shapes=shapes, strict=False)
    inline_regions(program.graph_module)
    _name_outputs(program)
    return program


@contextlib.contextmanager
def _counting(limit: int | None) -> Iterator[Counter[int]]:
    """Counts the calls of each layer."""
    calls: Counter[int] = Counter()

    def count(module: nn.Module, _args: Any) -> None:
        calls[identity(module)] += bool(module._parameters)
        if limit is not None and calls[identity(module)] > limit:
            raise RepeatsError(module)

    with torch.nn.modules.module.register_module_forward_pre_hook(count):
        yield calls


def _returned(program: torch.export.ExportedProgram) -> list[tuple[Any, Any]]:
    """What the graph returns, each with what the signature says of it."""
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    return list(zip(program.graph_signature.output_specs, pytree.tree_leaves(output.args[0]), strict=True))


def _name_outputs(program: torch.export.ExportedProgram) -> None:
    """Tells the signature what returns an output where a region did."""
    for spec, node in _returned(program):
        if isinstance(node, fx.Node):
            spec.arg.name = node.name


def _outputs(program: torch.export.ExportedProgram) -> tuple[fx.Node, ...]:
    return tuple(
        node for spec, node in _returned(program) if spec.kind.name == "USER_OUTPUT" and isinstance(node, fx.Node)
    )


def _mutates(node: fx.Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return node.op == "call_function" and schema is not None and bool(schema.is_mutable)


def _out_of_place(node: fx.Node) -> None:
    """Replaces ``relu_`` by ``relu`` where nobody else can see the difference: cheaper than tracing once more."""
    if not _mutates(node) or not isinstance(node.args[0], fx.Node):
        return
    assert isinstance(node.target, torch._ops.OpOverload)
    changed, name = node.args[0], node.target._schema.name.removeprefix("aten::")
    schema = getattr(changed.target, "_schema", None)
    fresh = changed.op == "call_function" and schema is not None and not any(each.alias_info for each in schema.returns)
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    if fresh and list(changed.users) == [node] and name.endswith("_") and node.target._overloadname in dir(packet):
        node.target = getattr(packet, node.target._overloadname)
