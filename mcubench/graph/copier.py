"""Copies of values in which whatever was copied stands for the original, also within functions and references."""

from __future__ import annotations

import collections
import copy
import copyreg
import enum
import functools
import re
import types
import weakref
from collections.abc import Iterator
from typing import Any

import torch

from mcubench.errors import UserError

__all__ = ["Copier", "copies"]

_ATOMIC = (
    type(None), bool, int, float, complex, str, bytes, range, slice, enum.Enum, type, property, re.Pattern,
    types.ModuleType, types.CodeType, torch.dtype, torch.device, torch.layout, torch.memory_format,
)  # fmt: skip

# What runs or feeds a module: a copy of it would copy the data, and log. By name, as not all of it need be installed.
_OUTSIDE = {"Trainer", "Fabric", "Strategy", "Logger", "LightningDataModule", "DataLoader", "Dataset"}
_PACKAGES = ("lightning.", "pytorch_lightning.", "lightning_fabric.", "torch.utils.data.")


class Copier:
    """Copies values, each once: what refers to something that was copied refers to its copy.

    Unlike ``copy.deepcopy`` it copies functions with what they close over, bound methods, references and caches, and it
    shares only what can't be copied itself (locks, open files, generators), not all that holds it.

    Attributes:
        memo: The copies by the ids of their originals, as ``copy.deepcopy`` has them.
    """

    def __init__(self) -> None:
        self.memo: dict[int, Any] = {}
        self._alive: list[Any] = []  # a temporary's id must not become another's

    def __call__(self, value: Any) -> Any:
        """The copy of a value, or the value itself if it can't be copied or never changes.

        Raises:
            UserError: If a rule says what the user has to mend.
        """
        if issubclass(type(value), _ATOMIC) or type(value) is object:  # a proxy says to isinstance what it stands for
            return value
        if id(value) not in self.memo:
            self._alive.append(value)
            try:
                self.memo[id(value)] = copies.dispatch(type(value))(value, self)
            except UserError:
                raise
            except Exception:  # whatever a class does about being copied
                self.memo[id(value)] = value
        return self.memo[id(value)]

    def begin(self, value: Any, made: Any) -> Any:
        """Notes a copy before it is filled, as what fills it may refer to it."""
        self.memo[id(value)] = made
        return made


@functools.singledispatch
def copies(value: Any, copier: Copier) -> Any:
    """Copies any object: its attributes are copies. Types that need more register a rule of their own."""
    if _is_outside(type(value)):
        return value
    if hasattr(type(value), "__deepcopy__"):
        return copy.deepcopy(value, copier.memo)
    made = copy.copy(value)
    if made is not value:
        copier.begin(value, made)
        _copy_attributes(value, made, copier)
    return made


def _is_outside(kind: type) -> bool:
    if kind.__module__.startswith("torch._dynamo"):
        return True
    return any(each.__name__ in _OUTSIDE and each.__module__.startswith(_PACKAGES) for each in kind.__mro__)


def _copy_attributes(value: Any, made: Any, copier: Copier) -> None:
    if hasattr(value, "__dict__"):
        made.__dict__.update({name: copier(each) for name, each in list(vars(value).items())})
    for name in copyreg._slotnames(type(value)):  # type: ignore[attr-defined]
        if hasattr(value, name):
            object.__setattr__(made, name, copier(getattr(value, name)))


@copies.register(dict)
def _dict(value: dict[Any, Any], copier: Copier) -> Any:
    made = copier.begin(value, copy.copy(value))
    if isinstance(value, collections.defaultdict):
        made.default_factory = copier(value.default_factory)
    items = [(copier(key), copier(each)) for key, each in value.items()]
    if any(key is not old for (key, _), old in zip(items, value, strict=True)):
        made.clear()
    for key, each in items:
        made[key] = each
    return made


@copies.register(list)
def _list(value: list[Any], copier: Copier) -> Any:
    made = copier.begin(value, copy.copy(value))
    made[:] = [copier(each) for each in value]
    return made


@copies.register(tuple)
def _tuple(value: tuple[Any, ...], copier: Copier) -> Any:
    items = [copier(each) for each in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    made = tuple.__new__(type(value), items)
    if hasattr(value, "__dict__"):
        _copy_attributes(value, made, copier)
    return made


@copies.register(set)
@copies.register(collections.deque)
def _collection(value: Any, copier: Copier) -> Any:
    made = copier.begin(value, copy.copy(value))
    items = [copier(each) for each in value]
    made.clear()
    (made.update if isinstance(value, set) else made.extend)(items)
    return made


@copies.register(frozenset)
def _frozenset(value: frozenset[Any], copier: Copier) -> Any:
    return type(value)(copier(each) for each in value)


@copies.register(types.FunctionType)
def _function(value: types.FunctionType, copier: Copier) -> Any:
    if getattr(value, "_torchdynamo_wrapper_id", None) == id(value):  # torch.compile has made it
        return copier(value._torchdynamo_orig_callable)  # type: ignore[attr-defined]
    cells = value.__closure__ or ()
    closure = tuple(copier.memo.setdefault(id(cell), types.CellType()) for cell in cells)
    made = types.FunctionType(value.__code__, value.__globals__, value.__name__, closure=closure or None)
    copier.begin(value, made)
    made.__qualname__, made.__module__, made.__doc__ = value.__qualname__, value.__module__, value.__doc__
    made.__annotations__ = value.__annotations__
    made.__defaults__, made.__kwdefaults__ = copier(value.__defaults__), copier(value.__kwdefaults__)
    vars(made).update({name: copier(each) for name, each in vars(value).items()})
    changed = made.__defaults__ is not value.__defaults__
    for new, old in ((made.__kwdefaults__, value.__kwdefaults__), (vars(made), vars(value))):
        changed |= any(new[name] is not each for name, each in (old or {}).items())
    for cell, original in zip(closure, cells, strict=True):
        for content in _content(original):
            cell.cell_contents = copier(content)
            changed |= cell.cell_contents is not content and content is not value
    return made if changed else value  # which may be known by what it is, as F.relu is


def _content(cell: types.CellType) -> Iterator[Any]:
    try:
        yield cell.cell_contents
    except ValueError:  # empty as yet
        return


@copies.register(types.MethodType)
def _method(value: types.MethodType, copier: Copier) -> Any:
    function: Any = value.__func__
    if isinstance(value.__self__, type):
        return value
    of_class = getattr(type(value.__self__), getattr(function, "__name__", ""), None) is function
    return types.MethodType(function if of_class else copier(function), copier(value.__self__))


@copies.register(types.BuiltinMethodType)
@copies.register(types.MethodWrapperType)
def _builtin_method(value: Any, copier: Copier) -> Any:
    """As in ``self.keep = self.outputs.append``."""
    owner = copier(value.__self__)
    return value if owner is value.__self__ else getattr(owner, value.__name__)


@copies.register(functools.partial)
def _partial(value: functools.partial[Any], copier: Copier) -> Any:
    made = type(value)(copier(value.func), *map(copier, value.args), **copier(value.keywords))
    vars(made).update(copier(vars(value)))
    return made


@copies.register(functools._lru_cache_wrapper)
def _cache(value: Any, copier: Copier) -> Any:
    """An empty one: what the trace would leave in it has no values."""
    return functools.lru_cache(**value.cache_parameters())(copier(value.__wrapped__))


@copies.register(weakref.ref)
def _reference(value: weakref.ref[Any], copier: Copier) -> Any:
    target = value()
    return value if target is None else type(value)(copier(target))


def _proxy(value: Any, copier: Copier) -> Any:
    return weakref.proxy(copier(value.__repr__.__self__))


for _kind in (weakref.ProxyType, weakref.CallableProxyType):
    copies.register(_kind, _proxy)
