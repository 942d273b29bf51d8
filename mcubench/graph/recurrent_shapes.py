"""Tracing an LSTM over 128 steps takes seconds, because torch finds its shapes by stepping; they are known at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C import DispatchKey

__all__ = ["shapes_without_stepping"]

_OPERATORS = ("lstm", "gru", "rnn_tanh", "rnn_relu")


@contextlib.contextmanager
def shapes_without_stepping() -> Iterator[None]:
    """While it lasts, recurrent operators on fake tensors return tensors of the right shape, without computing them."""
    replaced: list[tuple[dict[Any, Any], Any]] = []
    for name in _OPERATORS:
        operator = getattr(torch.ops.aten, name).input
        kernels = getattr(operator, "py_kernels", {})
        if stepping := kernels.get(DispatchKey.CompositeImplicitAutograd):  # else torch has changed: slow, and right
            kernels[DispatchKey.CompositeImplicitAutograd] = _shapes_of(stepping)
            replaced.append((kernels, stepping))
    try:
        yield
    finally:
        for kernels, stepping in replaced:
            kernels[DispatchKey.CompositeImplicitAutograd] = stepping


def _shapes_of(stepping: Callable[..., Any]) -> Callable[..., Any]:
    def shapes(x: Tensor, state: Any, params: list[Tensor], biased: bool, layers: int, *rest: Any) -> Any:
        directions = 2 if rest[2] else 1
        projected = len(params) != (4 if biased else 2) * directions * layers
        if projected or (x.device.type != "meta" and not isinstance(x, torch._subclasses.FakeTensor)):
            return stepping(x, state, params, biased, layers, *rest)
        hidden = params[1].shape[1]
        last = tuple(torch.empty_like(each) for each in (state if isinstance(state, (tuple, list)) else (state,)))
        return x.new_empty(*x.shape[:2], hidden * directions), *last

    return shapes
