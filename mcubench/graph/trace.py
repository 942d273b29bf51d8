"""`trace`: from any module to the graph."""

from __future__ import annotations

import itertools
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from mcubench import errors
from mcubench.errors import TraceError, UserError
from mcubench.graph.capture import Captured, RepeatsError, capture
from mcubench.graph.copying import Copy, copy_of
from mcubench.graph.example import Example
from mcubench.graph.failing import failed_forward, failing_layer, in_words
from mcubench.graph.ir import Graph, Node, Unknown, Value
from mcubench.graph.lowering import lower
from mcubench.graph.strangers import identity

__all__ = ["PRIMES", "is_ambiguous", "trace"]

# The traced batch is a prime number of samples: an axis divisible by it is the batch, or the batch merged with another
# axis. A batch of one could not be told from any other axis of size 1. Nothing is computed, so it costs nothing.
PRIMES = (211, 223, 227, 229, 233, 239, 241, 251, 257, 263)

# A layer that is called more often than this may be called for every sample.
_REPEATS = 16
_LOOPS = "it runs once for every sample of a batch"


def trace(module: nn.Module, example_input: Any, batch_dim: int | None = 0) -> Graph:
    """Traces what a module does with one sample at inference.

    A copy of it is traced with torch.export, on the CPU; the module, its hooks, its mode, its device and the random
    state stay as they are. Its forward hooks run as in any forward. Compiled parts are traced as what was compiled, and
    autocast and inference mode in forward change nothing.

    A batch is traced, so that it is known where the samples stand. Where the module does not treat each sample by
    itself, or loops over the samples, one sample is traced instead: the graph then has the calls and sizes of a single
    sample, and an `Unknown` node where samples could not be told apart.

    Args:
        module: Any module; it need not know anything of mcubench.
        example_input: One sample: a tensor, or a tuple of positional or a dict of keyword arguments. Only shapes and
            types of its tensors matter.
        batch_dim: Where the batch stands in every tensor of the example, with size 1 there; ``None`` if it has none.

    Returns:
        The graph; operations that can't be lowered are `Unknown` nodes in it.

    Raises:
        TraceError: If the module can't be copied, or can't be traced with this input.
        UserError: If the example is more than one sample.
    """
    graph = _traced(module, Example.of_one(example_input, batch_dim))
    if not graph.states:
        return graph
    note = f"forward leaves {', '.join(graph.states)} changed for its next call: here they have the values of the first"
    return replace(graph, notes=(*graph.notes, note))


def _traced(module: nn.Module, example: Example) -> Graph:
    if example.batch_dim is None:
        return _lowered(module, _of_one(module, example))
    try:
        several = _of_several(module, example)
    except _AcrossError as across:
        instead = f"with several samples {across}, and with one: "
        return _unclear(_lowered(module, across.single or _of_one(module, example, instead)), across)
    if several is not None:
        return several
    note = "its forward runs for a single sample only, so what it does with a batch was not looked at"
    return replace(_lowered(module, _of_one(module, example)), notes=(note,))


class _AcrossError(Exception):
    """Samples of a batch can't be told apart.

    Attributes:
        target: What does not treat each of them by itself: an operator, or the class of a module.
        reason: What it does instead.
        path: Where it is.
        single: A trace of one sample, if there is one already.
    """

    def __init__(self, target: str, reason: str, path: str, single: Captured | None = None) -> None:
        super().__init__(f"{target} in {path or 'the outermost forward'} can't be read ({reason})")
        self.target, self.reason, self.path, self.single = target, reason, path, single


def _of_several(module: nn.Module, example: Example) -> Graph | None:
    """The graph from a batch; ``None`` if forward takes none.

    Raises:
        _AcrossError: If what a single sample costs can't be read from it.
    """
    sizes = {size for each in (*module.parameters(), *module.buffers(), *example.tensors()) for size in _shape(each)}
    captured = None
    for prime in itertools.islice((prime for prime in PRIMES if all(size % prime for size in sizes if size)), 2):
        try:
            captured = _captured(module, example, prime)
        except (_AcrossError, UserError):
            raise
        except Exception:  # somebody's forward may raise anything; a single sample tells whether it is to blame
            break
        if not is_ambiguous(captured.graph, prime):
            break
    if captured is None:
        return None
    # If two primes are ambiguous, it is not by chance: samples do meet, or are counted, and lowering names where.
    graph = _lowered(module, captured)
    for node in graph.unknown():
        if isinstance(node.op, Unknown) and node.op.across_samples:
            raise _AcrossError(node.op.target, node.op.reason, node.path)
    return graph


def _captured(module: nn.Module, example: Example, batch: int) -> Captured:
    """Traces a batch, but not the same again for every sample of it, which would take long.

    Raises:
        _AcrossError: If forward does that.
    """
    copied, single = copy_of(module), None  # a new copy each time, as forward may fill caches
    try:
        captured = capture(copied, example, batch, _REPEATS)
    except RepeatsError as error:  # in every step of a sequence, perhaps
        single = _single(module, example)
        if single is not None and single.repeats <= _REPEATS:
            raise _repeated(copied, error, single) from error
        copied = copy_of(module)
        try:
            captured = capture(copied, example, batch, None if single is None else single.repeats)
        except RepeatsError as more:
            raise _repeated(copied, more, single) from more
    if _calls(captured) >= batch:
        single = single or _single(module, example)
        if single is not None and _calls(captured) - _calls(single) >= batch - 1:
            raise _AcrossError("a loop", _LOOPS, "", single)
    return captured


def _repeated(copied: Copy, error: RepeatsError, single: Captured | None) -> _AcrossError:
    path = next((name for name, each in copied.module.named_modules() if identity(each) == identity(error.layer)), "")
    return _AcrossError(type(error.layer).__name__, _LOOPS, path, single)


def _single(module: nn.Module, example: Example) -> Captured | None:
    """A trace of one sample, if forward takes one."""
    try:
        return capture(copy_of(module), example, 1)
    except Exception:
        return None


def _calls(captured: Captured) -> int:
    return sum(node.op == "call_function" for node in captured.graph.nodes)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return () if nn.parameter.is_lazy(tensor) else tuple(tensor.shape)


def _of_one(module: nn.Module, example: Example, instead: str = "") -> Captured:
    """A trace of a single sample; `instead` says why it is asked for, if a batch was traced before."""
    name, copied = type(module).__name__, copy_of(module)
    try:
        return capture(copied, example, 1)
    except UserError:
        raise
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        failed = _failed_layer(module, example) or f"{type(error).__name__}: {reason}"
        failed += _deciding_line(error)
        raise TraceError(
            f"{name} can't be traced with input {example.shapes()}: {instead}{failed}. "
            + (
                "Its steps must not depend on computed values: trace the part of it that does not decide"
                if "DataDependent" in type(error).__name__
                else "Its forward must run on such an input: give another example input"
            )
        ) from error


def _deciding_line(error: Exception) -> str:
    """Where in somebody's code a step depends on computed values, if that is what is wrong."""
    if "DataDependent" not in type(error).__name__:
        return ""
    libraries = tuple(str(Path(each).parent) for each in (torch.__file__, errors.__file__))
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith(libraries)]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno}: {frames[-1].line})" if frames else ""


def _failed_layer(module: nn.Module, example: Example) -> str | None:
    """What a forward fails of that fails by itself, in some layer; ``None`` if it does not."""
    copied, given = copy_of(module), example.repeated(1)
    with copied.running():
        error = failed_forward(copied.module, given.args, given.kwargs)
    found = None if error is None else failing_layer(error)
    if error is None or found is None or found[0] is copied.module:
        return None
    return in_words(error, copied.module)


def _lowered(module: nn.Module, captured: Captured) -> Graph:
    try:
        return lower(captured)
    except UserError:
        raise
    except Exception as error:
        raise TraceError(
            f"{type(module).__name__} can't be traced: what torch.export found can't be read ({type(error).__name__}: "
            f"{error}). Trace the parts of it that matter one by one"
        ) from error


def is_ambiguous(graph: fx.Graph, prime: int) -> bool:
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


def _unclear(one: Graph, across: _AcrossError) -> Graph:
    """The graph of one sample, in which what does not treat each sample of a batch by itself stays unknown."""
    note = f"traced with a single sample: with several, {across}"
    if (across.target, across.path) not in [(_target(node), node.path) for node in one.unknown()]:
        # It reads and makes nothing, so that the figures stay lower bounds.
        value = Value("samples", (0,), torch.float32)
        node = Node(value.name, Unknown(across.target, across.reason, across_samples=True), (), (value,), across.path)
        one = replace(one, nodes=(node, *one.nodes), outputs=(*one.outputs, value))
    return replace(one, notes=(*one.notes, note))


def _target(node: Node) -> str:
    return node.op.target if isinstance(node.op, Unknown) else ""
