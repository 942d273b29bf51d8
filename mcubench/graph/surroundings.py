"""What a trace finds around it and leaves as it was: random numbers, modes, caches, logs."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx import _lazy_graph_module

from mcubench.graph.recurrent_shapes import shapes_without_stepping

__all__ = ["for_tracing", "in_single_precision"]


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Random numbers, gradient mode, warnings and logs as they were, afterwards."""
    disabled = logging.root.manager.disable
    # torch tells this log all that it does, and makes up what to tell, as soon as somebody listens: pytest always does.
    structured = logging.getLogger("torch.__trace")
    listening = structured.handlers
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that a forward may draw from
    try:
        logging.disable(logging.CRITICAL)
        structured.handlers = []
        with torch.random.fork_rng(devices), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        structured.handlers = listening
        logging.disable(disabled)


@contextlib.contextmanager
def for_tracing(module: nn.Module) -> Iterator[None]:
    """While it lasts, a forward can be traced, and leaves random numbers, caches and logs as they were.

    Args:
        module: What is traced.
    """
    fastpath = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)  # its fused operator hides what it computes
        # torch prints the graph that it was at when it fails; our error says what a user can do about it.
        silent = contextlib.redirect_stderr(io.StringIO())
        with _undisturbed(), silent, _caches_as_they_were(module), shapes_without_stepping(), _graph_alone():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)


@contextlib.contextmanager
def _graph_alone() -> Iterator[None]:
    """Has torch neither write code for its graphs nor symbolise a stack for each node, of which nothing is read."""
    traces = getattr(fx.config, "do_not_emit_stack_traces", False)  # which torch 2.8 does not have
    try:
        fx.config.do_not_emit_stack_traces = True
        with _lazy_graph_module._use_lazy_graph_module(True):
            yield
    finally:
        fx.config.do_not_emit_stack_traces = traces


@contextlib.contextmanager
def in_single_precision() -> Iterator[None]:
    """Without autocast, and without inference mode, whose tensors can't be traced, even where a forward enters them."""
    own = threading.get_ident()  # other threads go on as they were
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        for device in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(device, enabled=False))
        for kind in (torch.autocast, torch.inference_mode):
            stack.callback(setattr, kind, "__enter__", kind.__enter__)
            stack.callback(setattr, kind, "__exit__", kind.__exit__)
            kind.__enter__ = _unless(own, kind.__enter__, lambda self: self)  # type: ignore[method-assign]
            kind.__exit__ = _unless(own, kind.__exit__, lambda *_: False)  # type: ignore[method-assign]
        yield


def _unless(thread: int, method: Any, instead: Any) -> Any:
    @functools.wraps(method)
    def chosen(*args: Any) -> Any:
        return (instead if threading.get_ident() == thread else method)(*args)

    return chosen


@contextlib.contextmanager
def _caches_as_they_were(module: nn.Module) -> Iterator[None]:
    """Empties each ``functools.lru_cache`` that was filled meanwhile: tensors of a trace have no values."""
    before = [(cache, cache.cache_info().misses) for cache in _caches(module)]
    try:
        yield
    finally:
        for cache, misses in before:
            if cache.cache_info().misses != misses:
                cache.cache_clear()


def _caches(module: nn.Module) -> list[Any]:
    """Those that the classes of a module's parts have, and those that stand beside these classes."""
    classes = {each for part in module.modules() for each in type(part).__mro__}
    own = [each for each in classes if not each.__module__.startswith(("torch.", "lightning.", "builtins"))]
    homes = {id(home): home for each in own for home in (vars(each), vars(sys.modules.get(each.__module__, each)))}
    found = {id(each): each for home in homes.values() for each in list(home.values())}
    return [each for each in found.values() if isinstance(each, functools._lru_cache_wrapper)]
