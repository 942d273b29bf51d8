"""Norms in parts that each have an int8 kernel; in all other graphs of a model they stay the layers that they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import torch

from mcubench.graph import Graph, Node, Op, Value, Weight, ops
from mcubench.graph.ir import Input

__all__ = ["composed"]

# Whoever composes a graph again gets the same values: ranges that were found for one hold in the other.
_PARTS: WeakKeyDictionary[Node, tuple[Node, ...]] = WeakKeyDictionary()


def composed(graph: Graph) -> Graph:
    """A deployed graph with its norms over the last axis in parts.

    A layer norm is the mean of a row, how each element differs from it, that brought to length 1, and a factor and a
    term for each channel: of a row of n numbers, the standard deviation is the length divided by the root of n. No part
    holds a variance, of which int8 has but 255 levels for all rows.
    """
    return replace(graph, nodes=tuple(part for node in graph.nodes for part in _parts(node)))


def _parts(node: Node) -> tuple[Node, ...]:
    if not isinstance(node.op, (ops.LayerNorm, ops.RMSNorm)) or node.op.rank != 1:
        return (node,)
    if node not in _PARTS:
        _PARTS[node] = _made(node, node.op)
    return _PARTS[node]


def _made(node: Node, op: ops.LayerNorm | ops.RMSNorm) -> tuple[Node, ...]:
    (x,) = node.inputs
    found: list[Node] = []

    def part(kind: str, made: Op, *inputs: Value, shape: Sequence[int] = x.shape) -> Value:
        value = Value(f"{node.output.name}.{kind}", tuple(shape), x.dtype)
        found.append(Node(value.name, made, inputs, (value,), node.path))
        return value

    if isinstance(op, ops.LayerNorm):
        mean = part("mean", ops.RowMean(), x, shape=(*x.shape[:-1], 1))
        x = part("centred", ops.Elementwise("sub.Tensor", (Input(0), Input(1))), x, mean)
    length = x.shape[-1]
    unit = part("unit", ops.UnitRow(length * op.eps), x)
    return (*found, replace(node, op=_by_channel(op, length, len(x.shape) - 1), inputs=(unit,)))


def _by_channel(op: ops.LayerNorm | ops.RMSNorm, length: int, rank: int) -> ops.BatchNorm:
    """The factor and the term of each channel, as a norm whose statistics are known."""
    ones, zeros = (Weight("norm", torch.full((length,), each)) for each in (1.0, 0.0))
    factor = op.weight or ones
    bias = op.bias if isinstance(op, ops.LayerNorm) else None
    return ops.BatchNorm(factor.derive(factor.tensor * math.sqrt(length)), bias, zeros, ones, 0.0, rank)
