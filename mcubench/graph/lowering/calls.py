"""What a traced call says of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx

from mcubench.graph.capture import module_path

__all__ = ["flatten", "is_tagged", "path_of", "results_of", "target_of"]


def target_of(node: fx.Node) -> str:
    """What is called, as in ``aten.conv2d.default``."""
    named = isinstance(node.target, (torch._ops.OpOverload, torch._ops.HigherOrderOperator, str))
    return str(node.target if named else getattr(node.target, "__name__", node.target))


def path_of(node: fx.Node) -> str:
    """The innermost module that made the call; one that is called twice has the same path both times."""
    stack = node.meta.get("nn_module_stack")
    path = next(reversed(stack.values()))[0] if stack else ""
    return module_path(str(path).partition("@")[0])


def results_of(node: fx.Node) -> list[Tensor]:
    """The traced (fake) tensors that it returned."""
    found = node.meta.get("val")
    return [each for each in (found if isinstance(found, (tuple, list)) else (found,)) if isinstance(each, Tensor)]


def is_tagged(target: Any, tag: torch.Tag) -> bool:
    """Whether torch says so of an operator."""
    return tag in getattr(target, "tags", ())


def flatten(found: Iterable[Any]) -> Iterable[Any]:
    """Arguments, with those in lists one by one."""
    for each in found:
        if isinstance(each, (tuple, list)):
            yield from flatten(each)
        else:
            yield each
