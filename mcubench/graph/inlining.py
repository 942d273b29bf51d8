"""Regions of a trace, as ``with torch.enable_grad():`` makes one, put back where they are called."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Sequence
from typing import Any

from torch import fx

__all__ = ["inline_regions"]

# Operators that do nothing but call a sub-graph, in a mode that changes no value at inference or no value that counts:
# each with what picks the sub-graph and its operands from the arguments.
_REGIONS: dict[str, Callable[..., tuple[Any, Sequence[Any]]]] = {
    "wrap_with_set_grad_enabled": lambda _enabled, inner, *given: (inner, given),
    "wrap_with_autocast": lambda _device, _dtype, _enabled, _cached, inner, *given: (inner, given),
    "tag_activation_checkpoint": lambda inner, *given, **_options: (inner, given),
    "wrap_activation_checkpoint": lambda inner, *given, **_options: (inner, given),
    "invoke_subgraph": lambda inner, _identifier, *given: (inner, given),
}


def inline_regions(module: fx.GraphModule) -> None:
    """Replaces every call of a region by the region's own calls, nested ones too."""
    for node in list(module.graph.nodes):
        if node.op == "call_function" and (pick := _REGIONS.get(str(node.target))) is not None:
            inner, given = pick(*node.args, **node.kwargs)
            _inline(module, node, getattr(module, str(inner.target)), given)


def _inline(module: fx.GraphModule, call: fx.Node, region: fx.GraphModule, given: Sequence[Any]) -> None:
    inline_regions(region)
    placeholders = [each for each in region.graph.nodes if each.op == "placeholder"]
    copies: dict[fx.Node, Any] = dict(zip(placeholders, given, strict=True))
    with module.graph.inserting_before(call):
        for each in region.graph.nodes:
            if each.op in ("placeholder", "output"):
                continue
            copies[each] = module.graph.node_copy(each, copies.__getitem__)
            if each.op == "get_attr":  # a branch of control flow within the region
                copies[each].target = _adopt(module, getattr(region, str(each.target)))
    (output,) = (each for each in region.graph.nodes if each.op == "output")
    results: Any = fx.map_arg(output.args[0], copies.__getitem__)
    for user in list(call.users):
        if user.target is operator.getitem:
            user.replace_all_uses_with(results[user.args[1]])
            module.graph.erase_node(user)
    if call.users:  # it returned one tensor, and not a tuple of them
        call.replace_all_uses_with(results)
    module.graph.erase_node(call)


def _adopt(module: fx.GraphModule, part: Any) -> str:
    name = next(name for name in (f"region_{index}" for index in itertools.count()) if not hasattr(module, name))
    setattr(module, name, part)
    return name
