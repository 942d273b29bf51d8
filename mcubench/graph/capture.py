"""From a module to torch.export's list of operator calls, without touching the module."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import logging
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.fx import _lazy_graph_module
from torch.utils import _pytree as pytree

from mcubench.errors import TraceError, UserError
from mcubench.graph.copying import in_float, traceable_copy
from mcubench.graph.recurrent_shapes import shapes_without_stepping

__all__ = ["Captured", "capture", "one_sample"]

# The traced batch is a prime number of samples: an axis divisible by it is the batch, or the batch merged with another
# axis. A batch of one could not be told from any other axis of size 1. Nothing is computed, so it costs nothing.
_PRIMES = (211, 223, 227, 229, 233, 239, 241, 251, 257, 263)


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
    """

    graph: fx.Graph
    tensors: dict[str, tuple[str, Tensor]]
    inputs: tuple[str, ...]
    outputs: tuple[fx.Node, ...]
    batch: int
    batch_axis: int | None
    parameters: dict[str, int]


def one_sample(example: Any, batch_dim: int = 0) -> Any:
    """Narrows every tensor of a batch to its first sample: what `capture` and `mcubench.graph.trace` take.

    Args:
        example: A tensor, or tuples, lists and dicts of tensors.
        batch_dim: Where the batch stands.

    Raises:
        UserError: If there is no sample in it.
    """

    def narrow(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.ndim <= batch_dim:
            return leaf
        if leaf.shape[batch_dim] == 0:
            raise UserError(f"an example of shape {tuple(leaf.shape)} has no sample along axis {batch_dim}")
        return leaf.narrow(batch_dim, 0, 1).detach()

    return pytree.tree_map(narrow, example)


def capture(module: nn.Module, example_input: Any, batch_dim: int | None) -> Captured:
    """Exports a copy of `module` in evaluation mode.

    Args:
        module: Any module.
        example_input: One sample: a tensor, a tuple of positional or a dict of keyword arguments.
        batch_dim: Where the batch stands in every tensor of it, with size 1; ``None`` if it has none.

    Raises:
        TraceError: If torch.export, or the module itself, fails on the input.
        UserError: If the example is more than one sample.
    """
    args, kwargs = _arguments(example_input)
    _check_example(args, kwargs, batch_dim)
    module = getattr(module, "_orig_mod", module)  # what torch.compile has wrapped
    try:
        clone = traceable_copy(module)
    except UserError:
        raise
    except Exception as error:
        raise TraceError(f"{type(module).__name__} can't be copied, so it can't be traced: {error}") from error
    sizes = {
        size for tensor in (*clone.parameters(), *clone.buffers(), *_tensors((args, kwargs))) for size in tensor.shape
    }
    captured = None
    if batch_dim is not None:
        primes = (prime for prime in _PRIMES if all(size % prime for size in sizes if size))
        for prime in itertools.islice(primes, 2):
            try:
                many = pytree.tree_map(functools.partial(_repeat, batch_dim=batch_dim, batch=prime), (args, kwargs))
                captured = _export(clone, many[0], many[1], prime, batch_dim)
            except Exception:  # somebody's forward may raise anything; a single sample tells whether it is to blame
                break
            if not _ambiguous(captured.graph, prime):
                return captured
        if captured is not None:  # not by chance: samples do meet each other, or are counted, and lowering names where
            return captured
    try:  # modules that are written for one sample at a time
        return _export(clone, args, kwargs, 1, batch_dim)
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in _tensors((args, kwargs)))
        raise TraceError(
            f"{type(module).__name__} can't be traced with input {shapes}: {type(error).__name__}: {reason}. "
            + (
                "Its steps must not depend on computed values: trace the part of it that does not decide"
                if "DataDependent" in type(error).__name__
                else "Its forward must run on such an input: give another example input"
            )
        ) from error


def _arguments(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(example, dict):
        return (), example
    return (tuple(example) if isinstance(example, (tuple, list)) else (example,)), {}


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor))


def _check_example(args: tuple[Any, ...], kwargs: dict[str, Any], batch_dim: int | None) -> None:
    tensors = list(_tensors((args, kwargs)))
    if not tensors:
        raise UserError("the example input has no tensor in it; give one sample, as in torch.zeros(1, 3, 32, 32)")
    if batch_dim is None:
        return
    if batch_dim < 0:
        raise UserError(f"batch_dim must be 0 or more, or None for an input without a batch; got {batch_dim}")
    for tensor in tensors:
        if tensor.ndim > batch_dim and tensor.shape[batch_dim] != 1:
            raise UserError(
                f"the example input must be one sample, with 1 along axis {batch_dim}, where the batch is; got shape "
                f"{tuple(tensor.shape)}. Give x[:1], or say batch_dim=... where the batch stands (None: nowhere)"
            )


def _repeat(leaf: Any, batch_dim: int, batch: int) -> Any:
    if not isinstance(leaf, Tensor) or leaf.ndim <= batch_dim:
        return leaf
    return leaf.repeat_interleave(batch, batch_dim)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Random numbers, attention's fast path, gradient mode and logs as they were, afterwards."""
    fastpath = torch.backends.mha.get_fastpath_enabled()
    disabled = logging.root.manager.disable
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that a forward may draw from
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # its fused operator hides what it computes
        logging.disable(logging.CRITICAL)
        # torch prints the graph that it was at when it fails; our error says what a user can do about it.
        silent = contextlib.redirect_stderr(io.StringIO())
        with silent, torch.random.fork_rng(devices), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.backends.mha.set_fastpath_enabled(fastpath)
        logging.disable(disabled)


@contextlib.contextmanager
def _graph_alone() -> Iterator[None]:
    """Has torch neither write Python code for its graphs nor symbolise a stack for each node, which take a third."""
    traces = getattr(fx.config, "do_not_emit_stack_traces", None)  # which torch 2.8 does not have
    try:
        fx.config.do_not_emit_stack_traces = True
        with _lazy_graph_module._use_lazy_graph_module(True):
            yield
    finally:
        fx.config.do_not_emit_stack_traces = traces


def _export(
    clone: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], batch: int, batch_axis: int | None
) -> Captured:
    with _undisturbed(), shapes_without_stepping(), _graph_alone():
        program = torch.export.export(clone, _on_cpu(args), _on_cpu(kwargs), strict=False)
        for node in program.graph.nodes:
            _out_of_place(node)
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
            tensors[placeholder] = first_path.get((tensor.data_ptr(), tensor.shape), path), tensor.detach()
    returned = pytree.tree_leaves(next(node for node in program.graph.nodes if node.op == "output").args[0])
    names = {
        spec.arg.name
        for spec in signature.output_specs
        if spec.kind.name == "USER_OUTPUT" and hasattr(spec.arg, "name")
    }
    return Captured(
        graph=program.graph,
        tensors=tensors,
        inputs=tuple(name for name in signature.user_inputs if isinstance(name, str)),
        outputs=tuple(node for node in returned if isinstance(node, fx.Node) and node.name in names),
        batch=batch,
        batch_axis=batch_axis,
        parameters={name: parameter.numel() for name, parameter in clone.named_parameters()},
    )


def _on_cpu(tree: Any) -> Any:
    return pytree.tree_map(lambda leaf: in_float(leaf.detach().cpu()) if isinstance(leaf, Tensor) else leaf, tree)


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


def _ambiguous(graph: fx.Graph, prime: int) -> bool:
    """Whether some tensor has two axes that could be the batch, or arithmetic has a number that could be its size."""
    return any(
        sum(size % prime == 0 for size in value.shape if isinstance(size, int) and size) > 1
        for node in graph.nodes
        for value in pytree.tree_leaves(node.meta.get("val"))
        if isinstance(value, Tensor)
    ) or any(
        prime in node.args and torch.Tag.pointwise in getattr(node.target, "tags", ())
        for node in graph.nodes
        if node.op == "call_function"
    )
