"""Modules that a forward finds outside of its own, as global variables: they can't be copied, and stay as they were."""

from __future__ import annotations

import collections
import copy
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

__all__ = ["Strangers", "identity"]

_CONTAINERS = (dict, list, set, collections.OrderedDict, collections.defaultdict, collections.deque)


def identity(module: nn.Module) -> int:
    """Tells modules apart while they are traced: torch.fx calls proxies, which have the attributes of the module."""
    return id(vars(module))


class Strangers:
    """Notes what modules are like before they run, and puts them back.

    Args:
        own: Identities of the modules that may change.
    """

    def __init__(self, own: set[int]) -> None:
        self._seen = set(own)
        self._kept: list[_Kept] = []

    def meet(self, module: nn.Module) -> None:
        """Notes a module, before it runs, and all in it, unless they are known."""
        if identity(module) in self._seen:
            return
        for each in module.modules():
            if identity(each) not in self._seen:
                self._seen.add(identity(each))
                self._kept.append(_Kept(each))

    def put_back(self) -> None:
        """Makes all that were noted what they were."""
        for each in self._kept:
            each.put_back()


class _Kept:
    """What a module was like: its attributes, what was in its containers, and the values of its buffers."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.attributes = dict(vars(module))
        self.contents = [(each, copy.copy(each)) for each in self.attributes.values() if type(each) in _CONTAINERS]
        with _disable_current_modes():  # while a trace runs, a copy would have no values
            self.buffers = [(each, each.clone()) for each in module._buffers.values() if each is not None]

    def put_back(self) -> None:
        vars(self.module).clear()
        vars(self.module).update(self.attributes)
        for container, before in self.contents:
            _refill(container, before)
        with torch.no_grad():
            for buffer, value in self.buffers:
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _refill(container: Any, before: Any) -> None:
    container.clear()
    if isinstance(container, (list, collections.deque)):
        container.extend(before)
    else:
        container.update(before)
