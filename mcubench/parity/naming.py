"""Names of a graph's nodes in Keras: the paths of their modules."""

from __future__ import annotations

import itertools
from collections.abc import Container, Hashable
from typing import Any

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node, Op, Weight

__all__ = ["LAYERS", "first_free", "labels"]


# What becomes a Keras layer with weights; other operations read theirs from a layer beside them.
LAYERS = (
    *(ops.Dense, ops.Conv, ops.TransposedConv, ops.BatchNorm, ops.GroupNorm, ops.LayerNorm, ops.RMSNorm, ops.PReLU),
    *(ops.Embedding, ops.Recurrent, ops.RecurrentCell, ops.MatMul, ops.Einsum),
)


def labels(graph: Graph) -> dict[Node, str]:
    """A name for every node: the path of its module.

    A module that does several things gives its name to the one that holds its weights; the others have the node's name
    behind it. Nodes that are one layer, called several times, have the same name.
    """
    modules: dict[str, dict[Hashable, list[Node]]] = {}
    for node in graph.nodes:
        modules.setdefault(node.path, {}).setdefault(_identity(node), []).append(node)
    by_path: dict[str, list[Node]] = {}
    others: list[tuple[str, list[Node]]] = []
    for path, alike in modules.items():
        weighted = [key for key in alike if not isinstance(key, Node)]
        named = weighted if len(weighted) == 1 else list(alike) if len(alike) == 1 else []
        for key, nodes in alike.items():
            if path and key in named:
                by_path[path] = nodes
            else:
                others.append((".".join(filter(None, (path, nodes[0].name))), nodes))
    found: dict[Node, str] = {}
    taken: set[str] = set()
    for wanted, nodes in (*by_path.items(), *others):  # no function takes the name of a module
        name = first_free(wanted.replace("/", "_"), taken)
        taken.add(name)
        found.update(dict.fromkeys(nodes, name))
    return found


def _identity(node: Node) -> Hashable:
    """What makes a layer the same one: its weights and how it uses them; without weights each node is its own."""
    if not isinstance(node.op, LAYERS):
        return node
    held, passed_over = node.op.weights(), ""
    if isinstance(node.op, ops.RecurrentCell):  # it starts from a constant state, and is the same cell in the next step
        held, passed_over = node.op.cell.weights(), "operands"
    weights = tuple(
        (role, each.tensor.data_ptr(), tuple(each.tensor.shape), each.tensor.stride()) for role, each in held
    )
    if not weights:
        return node
    options = tuple((name, _option(value)) for name, value in vars(node.op).items() if name != passed_over)
    return type(node.op), weights, options, node.inputs[0].shape  # "same" padding is another for another size


def _option(value: Any) -> Hashable:
    """An option of an operation, in which only the places of weights count: which they are is told apart from it."""
    if isinstance(value, tuple):
        return tuple(map(_option, value))
    return type(value).__name__ if isinstance(value, (Weight, Op)) else value


def first_free(name: str, taken: Container[str], between: str = ".") -> str:
    """The name, or the name with the first number behind it that is not taken."""
    candidates = (f"{name}{between}{count}" if count > 1 else name for count in itertools.count(1))
    return next(each for each in candidates if each not in taken)
