"""No option of an operation is passed over: a rule reads every field, or says that it does not matter there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from mcubench.graph.ir import Op

__all__ = ["irrelevant", "unread", "watched"]

_READ = "_read"
_AnyOp = TypeVar("_AnyOp", bound=Op)


def watched(op: _AnyOp) -> _AnyOp:
    """A copy of an operation that remembers which of its fields are read; so do the operations that it holds."""
    copy: _AnyOp = object.__new__(_watching(type(op)))
    vars(copy).update({name: _held(value) for name, value in vars(op).items()}, **{_READ: set()})
    return copy


def _held(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_held, value))
    return watched(value) if isinstance(value, Op) else value


def _watching(kind: type) -> type:
    def read(self: Op, name: str) -> Any:
        found = object.__getattribute__(self, name)
        object.__getattribute__(self, "__dict__").get(_READ, set()).add(name)
        return found

    return type(kind.__name__, (kind,), {"__getattribute__": read})


def irrelevant(op: Op, *names: str) -> None:
    """Notes that fields do not matter where this is called; the reason belongs beside it."""
    vars(op)[_READ].update(names)


def unread(op: Op) -> list[str]:
    """The fields of a watched operation, and of those that it holds, that nobody has read or called irrelevant."""
    found = [each.name for each in fields(op) if each.name not in vars(op)[_READ]]  # type: ignore[arg-type]
    for value in vars(op).values():
        for each in value if isinstance(value, tuple) else (value,):
            found += unread(each) if isinstance(each, Op) else []
    return list(dict.fromkeys(found))
