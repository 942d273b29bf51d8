"""Gives chains of reshapes and permutations that choose along one axis the form of a choice: a channel shuffle, say."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mcubench.graph import ops
from mcubench.graph.interpret import interpret
from mcubench.graph.ir import Graph, Node, Value, Weight
from mcubench.graph.passes.rewrite import only_reader, with_nodes

__all__ = ["join_moves"]

_MOVES = (ops.Reshape, ops.Permute)


def join_moves(graph: Graph) -> Graph:
    """Joins reshapes and permutations that end in the shape that they began with, and change the order along one axis.

    A permutation of the channels, however it is written, so needs no axes beside those of the image.
    """
    readers = only_reader(graph)
    dropped: set[Node] = set()
    renamed: dict[Value, Value] = {}
    nodes = []
    for node in graph.nodes:
        if node in dropped:
            continue
        nodes.append(node)
        for chain in _chains(node, readers):
            if (found := _joined(chain, renamed)) is not None:
                nodes[-1:] = found
                dropped.update(chain)
                break
    return with_nodes(graph, nodes, renamed)


def _chains(node: Node, readers: dict[Node, Node]) -> list[tuple[Node, ...]]:
    """What begins with a node and ends in the shape that it began with, the longest first."""
    chain, found = [node], []
    while isinstance(chain[-1].op, _MOVES):
        if len(chain) > 1 and chain[-1].output.shape == node.inputs[0].shape:
            found.append(tuple(chain))
        following = readers.get(chain[-1])
        if following is None:
            break
        chain.append(following)
    return found[::-1]


def _joined(chain: tuple[Node, ...], renamed: dict[Value, Value]) -> list[Node] | None:
    """The chain as a choice, or as nothing if nothing moves; ``None`` if it moves more."""
    first, last = chain[0], chain[-1]
    value = first.inputs[0]
    if len(set(value.shape)) == 0:
        return None
    numbers = torch.arange(value.size).reshape(1, *value.shape)
    moved = interpret(Graph(chain, (value,), (last.output,)), numbers)[0]
    if torch.equal(moved, numbers):
        renamed[last.output] = value
        return []
    for axis in range(len(value.shape)):
        places = _places(moved, numbers, axis + 1)
        if torch.equal(numbers.index_select(axis + 1, places), moved):
            calls = tuple(call for node in chain for call in node.calls)
            op = ops.Take(axis, Weight(f"{last.name}.places", places))
            return [replace(last, op=op, inputs=(value,), calls=calls)]
    return None


def _places(moved: Tensor, numbers: Tensor, axis: int) -> Tensor:
    """Where the elements along an axis come from, judged by the first ones of the others."""
    behind = numbers.stride(axis)
    first = moved.movedim(axis, 0).flatten(1)[:, 0]
    return first // behind % numbers.shape[axis]
