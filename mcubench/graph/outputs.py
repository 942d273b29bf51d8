"""The tensors in what a forward returns, whatever holds them."""

from __future__ import annotations

import copyreg
import dataclasses
import enum
import inspect
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.errors import TraceError

__all__ = ["output_tensors"]

_COMPUTED_NUMBERS = (torch.SymInt, torch.SymFloat, torch.SymBool)
_NO_TENSORS = (
    type(None), int, float, complex, str, bytes, enum.Enum, type, torch.dtype, torch.device, nn.Module, np.ndarray,
    np.generic,
)  # fmt: skip


def output_tensors(result: Any) -> list[Tensor]:
    """All tensors in what a forward returns, in order: in tuples, dicts, dataclasses and other objects.

    Strings, numbers and ``None`` beside them are left out.

    Raises:
        TraceError: If there is none, if a number was computed from the input, or if an object can't be looked into.
    """
    found = list(_tensors(result, set()))
    if not found:
        raise TraceError(
            f"forward returns no tensor, but {_described(result)}: return what the network computes, as a tensor or in "
            "a tuple, a dict or a dataclass"
        )
    return found


def _tensors(value: Any, seen: set[int]) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, _COMPUTED_NUMBERS):
        raise TraceError("forward returns a number that it computes from its input, as .item() does: return a tensor")
    elif not isinstance(value, _NO_TENSORS) and not inspect.isroutine(value) and id(value) not in seen:
        seen.add(id(value))
        for each in _parts(value):
            yield from _tensors(each, seen)


def _parts(value: Any) -> Iterable[Any]:
    leaves = pytree.tree_leaves(value)
    if len(leaves) != 1 or leaves[0] is not value:
        return leaves
    if isinstance(value, Mapping):
        return value.values()
    if dataclasses.is_dataclass(value):
        return [getattr(value, each.name) for each in dataclasses.fields(value)]
    if isinstance(value, Collection):
        return value
    slots = [name for name in copyreg._slotnames(type(value)) if hasattr(value, name)]  # type: ignore[attr-defined]
    if not hasattr(value, "__dict__") and not slots:
        raise TraceError(
            f"forward returns {_described(value)}, in which tensors can't be found: return a tensor, a tuple, a dict "
            "or a dataclass"
        )
    return [*getattr(value, "__dict__", {}).values(), *(getattr(value, name) for name in slots)]


def _described(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
