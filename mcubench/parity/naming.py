"""Names of a graph's nodes in Keras: the paths of their modules."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

from mcubench.graph import ops
from mcubench.graph.ir import Graph, Node

__all__ = ["labels"]


def labels(graph: Graph) -> dict[Node, str]:
    """A name for every node: the path of its module.

    A module that does several things gives its name to the one that holds its weights; the others have the node's name
    behind it. Nodes that are one layer, called several times, have the same name.
    """
    layers: dict[str, dict[Hashable, list[Node]]] = {}
    for node in graph.nodes:
        layers.setdefault(node.path, {}).setdefault(_identity(node), []).append(node)
    found: dict[Node, str] = {}
    taken = {value.name for value in graph.inputs}
    for path, alike in layers.items():
        weighted = [key for key in alike if not isinstance(key, Node)]
        named = weighted if len(weighted) == 1 else list(alike) if len(alike) == 1 else []
        for key, nodes in alike.items():
            wanted = path if path and key in named else ".".join(filter(None, (path, nodes[0].name)))
            name = next(each for each in _candidates(wanted) if each not in taken)
            taken.add(name)
            found.update(dict.fromkeys(nodes, name))
    return found


def _identity(node: Node) -> Hashable:
    """What makes a layer the same one: its weights and how it uses them; without weights each node is its own."""
    # A recurrent cell starts from a constant state in its first step, and is the same cell in the next.
    held = node.op.cell.weights() if isinstance(node.op, ops.RecurrentCell) else node.op.weights()
    weights = tuple(
        (role, each.tensor.data_ptr(), tuple(each.tensor.shape), each.tensor.stride()) for role, each in held
    )
    if not weights:
        return node
    plain = tuple((name, value) for name, value in vars(node.op).items() if _is_plain(value))
    return type(node.op), weights, plain, node.inputs[0].shape  # "same" padding is another for another size


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (int, float, str))


def _candidates(name: str) -> Iterator[str]:
    yield name
    count = 2
    while True:
        yield f"{name}.{count}"
        count += 1
