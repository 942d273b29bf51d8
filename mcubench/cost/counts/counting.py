"""From a graph to what another tool counts for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mcubench.cost.counts.gapflow import gapflow_parts
from mcubench.cost.counts.parts import Parts, ToolCount
from mcubench.cost.counts.st import st_parts
from mcubench.cost.macs import count_macs
from mcubench.errors import UserError
from mcubench.graph import Graph
from mcubench.graph.ir import Node, Op

__all__ = ["TOOLS", "check_tools", "count_like"]


@dataclass(frozen=True)
class _Tool:
    name: str
    parts: Callable[[Op, Node], Parts]


_TOOLS = {
    "st": _Tool("MACC of ST's STM32Cube.AI", st_parts),
    "gapflow": _Tool("operations of GreenWaves' GapFlow (nntool)", gapflow_parts),
}

TOOLS = tuple(_TOOLS)


def check_tools(names: Iterable[str]) -> None:
    """Refuses a tool that has no table of rules.

    Raises:
        UserError: It names those that have one.
    """
    for name in names:
        if name not in _TOOLS:
            raise UserError(f"There are no rules of how {name!r} counts; known are {', '.join(_TOOLS)}")


def count_like(graph: Graph, tool: str) -> ToolCount:
    """Counts one sample of a graph as a tool would.

    Args:
        graph: A graph; that of a device (`mcubench.graph.deploy`) for the layers that `profile` shows, as these tools
            fold batch norm and padding, too.
        tool: One of `TOOLS`.

    Raises:
        UserError: If there are no rules for that tool.
    """
    check_tools([tool])
    rules = _TOOLS[tool]
    counts = [count_macs(Graph((node,), (), ())) for node in graph.nodes]
    return ToolCount(
        tool,
        rules.name,
        tuple(rules.parts(node.op, node) for node in graph.nodes),
        tuple(None if count.unsupported else count.counted for count in counts),
    )
