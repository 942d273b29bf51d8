"""Calls of a running forward, numbered: the same call has the same key in a trace and in every training step."""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from mcubench.graph import Graph, ops, trace
from mcubench.quant.training.derived import Derived

__all__ = [
    "NumberedCalls",
    "forward_inputs",
    "input_key",
    "marked_trace",
    "sites_of",
    "uncompiled",
    "weights_of",
]

# What they return is the same whatever numbers they are given: a state before the first step, say.
_CONSTANTS = {
    *("zeros", "ones", "full", "arange", "linspace", "eye"),
    *("zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"),
}

# Their results are several tensors: a sequence and last states.
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell"}

# Memory that is filled with random numbers, and these.
_RANDOM = {
    *("empty", "empty_like", "new_empty", "rand", "randn", "randint", "randperm", "rand_like", "randn_like"),
    *("randint_like", "bernoulli", "normal", "uniform", "exponential", "random", "poisson", "multinomial"),
}

# Python of torch that is many calls to a device.
_OPENED = {"multi_head_attention_forward"}

_library = torch.library.Library("mcubench", "DEF")
_library.define("site(Tensor x, str key) -> Tensor")
_library.impl("site", lambda x, _key: x.clone(), "CompositeExplicitAutograd")  # functional: the result is no alias


class NumberedCalls(TorchFunctionMode):
    """While it is on, every call of a torch function that returns one floating-point tensor has a key.

    So have calls of recurrent layers, whose results are several.

    The key is the function's name and how often it was called before, as in ``conv2d:0``; what a function calls itself
    is not seen, so that layers and functions alike are one call. Only `nn.MultiheadAttention` is the calls that it is
    made of. What is computed from weights and constants alone has no key.

    Random numbers, as those by which layers are dropped, are there in training alone: what is drawn, and what it is
    combined with, has no key either.

    Args:
        derived: The weights, and what is computed from them alone.

    Attributes:
        counts: How often each function was called.
    """

    def __init__(self, derived: Derived | None = None) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.derived = Derived() if derived is None else derived
        self.noise = Derived()
        self._uncompiled = contextlib.ExitStack()

    def __enter__(self) -> Any:
        """Goes on; what torch.compile has made runs as it was written, as calls within it could not be seen."""
        self._uncompiled.enter_context(uncompiled())
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        """Goes off."""
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self._uncompiled.close()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Makes the call, through `called` if it may be a site."""
        kwargs = kwargs or {}
        origin = self.derived.of_call(args, kwargs)
        if origin is not None:
            result = func(*args, **kwargs)
            self.derived.note(origin, result)
            return result
        name = _name(func)
        if name is None:
            return func(*args, **kwargs)
        if name in _OPENED:
            with _on_again(self):
                return _opened(func)(*args, **kwargs)
        if name in _CONSTANTS:
            result = func(*args, **kwargs)
            self.derived.note(result, result)
            return result
        if name in _RANDOM or self.noise.is_in(args, kwargs):
            result = func(*args, **kwargs)
            if name in _RANDOM or self.noise.is_all(args, kwargs):
                self.noise.note(result, result)
            return result
        index = self.counts.get(name, 0)
        result = self.called(f"{name}:{index}", func, args, kwargs)
        for known in (self.derived, self.noise):
            known.forget(args[0] if name == "__setitem__" else result)
        if name in _RECURRENT or (isinstance(result, Tensor) and result.is_floating_point()):
            self.counts[name] = index + 1
        return result

    def called(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Makes the call; what it returns is the caller's result."""
        raise NotImplementedError


@contextlib.contextmanager
def uncompiled() -> Iterator[None]:
    """While it lasts, what torch.compile has made runs as it was written."""
    if "torch._dynamo" not in sys.modules:  # nothing was compiled, and it takes seconds to import
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


@contextlib.contextmanager
def _on_again(mode: NumberedCalls) -> Iterator[None]:
    """While it lasts, a mode that is handling a call sees what the call makes."""
    TorchFunctionMode.__enter__(mode)
    try:
        yield
    finally:
        TorchFunctionMode.__exit__(mode, None, None, None)


@functools.cache
def _opened(func: Callable[..., Any]) -> Callable[..., Any]:
    """A function of torch that does not hand the call over to the mode before it makes others."""
    names = {**func.__globals__, "has_torch_function": lambda _tensors: False}
    return types.FunctionType(func.__code__, names, func.__name__, func.__defaults__)


@functools.lru_cache(4096)
def _name(func: Callable[..., Any]) -> str | None:
    """The function's name, in-place forms without the underscore; ``None`` for attributes of tensors."""
    name = getattr(func, "__name__", "")
    if name in ("__get__", "__set__", ""):
        return None
    return name if name.startswith("__") else name.rstrip("_")


class _Markers(NumberedCalls):
    """Puts a marker with its key behind every call that makes new values."""

    def called(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = [(each, each._version) for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        result = func(*args, **kwargs)
        if _name(func) in _RECURRENT and isinstance(result, tuple):
            return tuple(torch.ops.mcubench.site(each, key) for each in result)
        if not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        # A view must stay one, as what is written through it counts; one that was changed in place has new values.
        storage = result.untyped_storage()._cdata
        changed = any(each is result and each._version != version for each, version in given)
        if not changed and any(each.untyped_storage()._cdata == storage for each, _ in given):
            return result
        return torch.ops.mcubench.site(result, key)


def weights_of(module: nn.Module) -> Derived:
    """The parameters and buffers of a module, as they are now."""
    return Derived(itertools.chain(module.parameters(), module.buffers()))


def input_key(index: int) -> str:
    """The key of one of forward's tensors."""
    return f"input:{index}"


def forward_inputs(
    module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], change: Callable[[str, Tensor], Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Changes the floating-point tensors among forward's arguments, each by its key; the order is the signature's."""
    if kwargs:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        leaves, spec = pytree.tree_flatten(tuple(bound.arguments.values()))
    else:
        bound = None
        leaves, spec = pytree.tree_flatten(args)
    index = 0
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            if leaf.is_floating_point():
                leaves[place] = change(input_key(index), leaf)
            index += 1
    values = pytree.tree_unflatten(leaves, spec)
    if bound is None:
        return values, kwargs
    bound.arguments.update(zip(bound.arguments, values, strict=True))
    return bound.args, bound.kwargs


class _Marking:
    """Hooks that mark a forward; a copy of the module has the same, so that its forward is counted here.

    Attributes:
        counts: How often the last forward called each function.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._running: list[_Markers] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> _Marking:
        return self

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
        """Begins to mark."""
        changed = forward_inputs(module, args, kwargs, lambda key, x: torch.ops.mcubench.site(x, key))
        self._running.append(_Markers(weights_of(module)))
        self._running[-1].__enter__()
        return changed

    def leave(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        """Ends it."""
        calls = self._running.pop()
        calls.__exit__(None, None, None)
        self.counts.clear()
        self.counts.update(calls.counts)


@contextlib.contextmanager
def _marking(module: nn.Module) -> Iterator[dict[str, int]]:
    """While it lasts, a forward of the module or a copy is marked; yields the last one's counts of calls."""
    marking = _Marking()
    with (
        module.register_forward_pre_hook(marking.enter, with_kwargs=True),
        module.register_forward_hook(marking.leave, always_call=True),
    ):
        yield marking.counts


def marked_trace(module: nn.Module, example_input: Any, batch_dim: int | None = 0) -> tuple[Graph, dict[str, int]]:
    """Traces a module as `mcubench.graph.trace` does, with a `Site` behind every value that has a call of its own.

    Returns:
        The graph as traced, and how often forward called each function.
    """
    with _marking(module) as counts:
        graph = trace(module, example_input, batch_dim)
    return graph, dict(counts)


def sites_of(graph: Graph) -> Mapping[str, str]:
    """The key of the call that makes each value, by the value's name, of a graph from `marked_trace`."""
    makers = graph.producers()
    found: dict[str, str] = {}
    for node in graph.nodes:
        if isinstance(node.op, ops.Site):
            value = node.inputs[0]
            while (maker := makers.get(value)) is not None and isinstance(maker.op, ops.Site):
                value = maker.inputs[0]
            found.setdefault(value.name, node.op.target)
    # Where a rule reshapes what its layer made, the call stands for both.
    for node in reversed(graph.nodes):
        if isinstance(node.op, ops.Reshape) and node.output.name in found:
            found.setdefault(node.inputs[0].name, found[node.output.name])
    return found
