"""Activation checkpoints: what backward computes again is rounded as it was the first time.

``torch.utils.checkpoint`` drops the values of a part of a forward, and calls that part once more while gradients are
computed. By then the forward has ended, its calls are not counted any more, and other ranges may have been learned.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch.utils.checkpoint

__all__ = ["Again", "rounding_again"]

Again = Callable[[], AbstractContextManager[None]]  # for one more computation; it may be asked for several times

_REENTRANT = "CheckpointFunction"
_OTHER = "_checkpoint_without_reentrant_generator"
_ORIGINALS: dict[str, Any] = {name: getattr(torch.utils.checkpoint, name) for name in (_REENTRANT, _OTHER)}


@contextlib.contextmanager
def rounding_again(begin: Callable[[], Again]) -> Iterator[None]:
    """While it lasts, what ``torch.utils.checkpoint`` is given will be computed again in a context.

    The function has no hook, and callers hold it under any name. What is replaced are its two ways of working, which it
    looks up when it is called.

    Args:
        begin: Called where a checkpoint begins; what it returns makes the context.
    """
    module: Any = torch.utils.checkpoint
    before = {name: getattr(module, name) for name in _ORIGINALS}

    class Reentrant:
        @staticmethod
        def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
            part = _Part(function, begin())
            outputs = _ORIGINALS[_REENTRANT].apply(part, preserve, *args)
            part.is_computed = True
            return outputs

    def without_reentrant(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        part = _Part(function, begin())
        part.is_computed = True  # its caller makes the first computation
        return _ORIGINALS[_OTHER](part, *args, **kwargs)

    try:
        setattr(module, _REENTRANT, Reentrant)
        setattr(module, _OTHER, without_reentrant)
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


class _Part:
    """A part of a forward, which is computed twice."""

    def __init__(self, function: Callable[..., Any], again: Again) -> None:
        self.function = function
        self.again = again
        self.is_computed = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.again() if self.is_computed else contextlib.nullcontext():
            return self.function(*args, **kwargs)
