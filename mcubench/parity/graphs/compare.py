"""Runs two graphs on the same samples, and compares what their layers make."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mcubench.errors import UserError
from mcubench.files import atomic_path
from mcubench.graph import Graph, deploy, interpret
from mcubench.parity.comparing.report import Difference, difference
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.integer.run import run

__all__ = ["INTEGER_RTOL", "GraphParity", "Row", "Side", "compare_graphs", "samples_for"]

# Where one side computes in integers: 8 bits of activations and of weights, through some layers.
INTEGER_RTOL = 0.2

_SPREAD = 40  # standard deviation of random codes: few are at the ends, where a model has seldom been


@dataclass(frozen=True)
class Side:
    """One of the two.

    Attributes:
        name: What it is called.
        graph: In float, deployed: channels last.
        integer: In integers, if that is how it computes.
    """

    name: str
    graph: Graph
    integer: IntegerGraph | None = None

    @classmethod
    def of(cls, name: str, graph: Graph, integer: IntegerGraph | None = None) -> Side:
        """From a graph as traced or read.

        Raises:
            UserError: If it has an operation that can't be run.
        """
        if unknown := graph.unknown():
            node = unknown[0]
            raise UserError(f"{name}: {node.op.label} at {node.path or '(root)'} can't be run")
        return cls(name, deploy(graph), integer)

    def layers(self) -> list[_Layer]:
        """What holds weights, in order."""
        return [
            _Layer(node.path, node.op.label, node.output.name, _thin(node.output.shape))
            for node in self.graph.nodes
            if any(weight.tensor.ndim > 1 for _, weight in node.op.weights())
        ]

    def run(self, inputs: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """What is made of samples: by layers' values, and at the outputs; float32, channels last."""
        if self.integer is None:
            values = interpret(self.graph, *inputs, every=True)
            return values, [values[each.name] for each in self.graph.outputs]
        found = run(self.integer, *self.integer.encode(*inputs))
        # An operator of a file has a path of its own; the last kernel that it became makes what it makes.
        by_path = {node.path: node.output.grid.values(found[node.output.name]) for node in self.integer.nodes}
        made = {layer.value: by_path[layer.path] for layer in self.layers() if layer.path in by_path}
        return made, list(self.integer.decode(*(found[each.name] for each in self.integer.outputs)))


@dataclass(frozen=True)
class _Layer:
    path: str
    label: str
    value: str
    shape: tuple[int, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        return self.label, self.shape


@dataclass(frozen=True)
class Row:
    """A layer, or an output, on both sides.

    Attributes:
        one: Its path on the one side; of an output its place.
        other: Its path on the other side.
        op: What it computes.
        shape: Of what it makes, without axes of length 1.
        difference: How far the other is from the one.
        agrees: Whether that is within the tolerance.
    """

    one: str
    other: str
    op: str
    shape: tuple[int, ...]
    difference: Difference
    agrees: bool


@dataclass(frozen=True)
class GraphParity:
    """Two models, compared.

    Attributes:
        one: Name of the one, which is the reference.
        other: Name of the other.
        samples: How many they were run on.
        rtol: The largest relative error that agrees.
        layers: Those that are on both sides.
        alone: Paths of layers that are on one side only, those of the one first.
        outputs: The outputs.
        top1: Share of samples for which the first output is largest at the same place; ``None`` for a single value.
    """

    one: str
    other: str
    samples: int
    rtol: float
    layers: tuple[Row, ...]
    alone: tuple[tuple[str, ...], tuple[str, ...]]
    outputs: tuple[Row, ...]
    top1: float | None

    @property
    def passed(self) -> bool:
        """Whether the outputs agree, and every layer that is on both sides."""
        return all(row.agrees for row in (*self.layers, *self.outputs))

    def save_json(self, target: Path) -> None:
        """Writes all figures to a file, which is there whole or not at all."""
        found = {"passed": self.passed, **asdict(self)}
        for row in (*found["layers"], *found["outputs"]):
            row["difference"] = {key: each if math.isfinite(each) else None for key, each in row["difference"].items()}
        with atomic_path(target) as temporary:
            temporary.write_text(json.dumps(found, indent=2, allow_nan=False) + "\n", "utf-8")


def samples_for(one: Side, other: Side, count: int, seed: int) -> list[Tensor]:
    """Samples that both take: what normal random codes stand for if one computes in integers, else normal values.

    Raises:
        UserError: If they do not take the same.
    """
    shapes = [[_thin(each.shape) for each in side.graph.inputs] for side in (one, other)]
    if shapes[0] != shapes[1]:
        taken = [", ".join(map(str, (list(each.shape) for each in side.graph.inputs))) for side in (one, other)]
        raise UserError(f"{one.name} takes {taken[0]}, {other.name} takes {taken[1]}: samples must have the same shape")
    generator = np.random.default_rng(seed)
    rounded = next((side.integer for side in (one, other) if side.integer is not None), None)
    found = []
    for place, value in enumerate(one.graph.inputs):
        if not value.dtype.is_floating_point:
            raise UserError(f"{one.name} takes whole numbers, of which no random ones can be made up")
        if rounded is None:
            drawn = torch.from_numpy(generator.standard_normal((count, *value.shape)).astype(np.float32))
        else:
            codes = (_SPREAD * generator.standard_normal((count, *value.shape))).round().clip(-128, 127)
            drawn = rounded.inputs[place].grid.values(torch.from_numpy(codes.astype(np.int8)))
        found.append(drawn)
    return found


def compare_graphs(one: Side, other: Side, inputs: Sequence[Tensor], rtol: float) -> GraphParity:
    """Compares two models.

    Args:
        one: The reference.
        other: What is compared with it.
        inputs: Samples, (N, *shape), channels last.
        rtol: The largest relative error that agrees.

    Raises:
        UserError: If their outputs differ in number or shape.
    """
    ours, outputs = one.run(inputs)
    shaped = [x.reshape(len(x), *value.shape) for x, value in zip(inputs, other.graph.inputs, strict=True)]
    theirs, others = other.run(shaped)
    if [_thin(each.shape[1:]) for each in outputs] != [_thin(each.shape[1:]) for each in others]:
        given = [[list(each.shape[1:]) for each in side] for side in (outputs, others)]
        raise UserError(f"{one.name} gives {given[0]}, {other.name} gives {given[1]}: outputs must have the same shape")
    pairs, alone = _aligned(one.layers(), other.layers())
    layers = [
        _row((left.path, right.path), left.label, ours[left.value], theirs[right.value], rtol)
        for left, right in pairs
        if left.value in ours and right.value in theirs
    ]
    made = [
        _row((f"output {place}", f"output {place}"), "", left, right, rtol)
        for place, (left, right) in enumerate(zip(outputs, others, strict=True))
    ]
    classes = [side[0].flatten(1) for side in (outputs, others)]
    same = (classes[0].argmax(1) == classes[1].argmax(1)).double().mean()
    top1 = float(same) if classes[0].shape[1] > 1 else None
    return GraphParity(one.name, other.name, len(inputs[0]), rtol, tuple(layers), alone, tuple(made), top1)


def _row(paths: tuple[str, str], op: str, reference: Tensor, found: Tensor, rtol: float) -> Row:
    far = difference(found.numpy(), reference.numpy())
    return Row(*paths, op, _thin(reference.shape[1:]), far, far.within(rtol))


def _aligned(
    one: Sequence[_Layer], other: Sequence[_Layer]
) -> tuple[list[tuple[_Layer, _Layer]], tuple[tuple[str, ...], tuple[str, ...]]]:
    """Layers that compute the same in the same order, and the paths of those that have no counterpart."""
    matcher = difflib.SequenceMatcher(None, [each.key for each in one], [each.key for each in other], autojunk=False)
    pairs = [
        (one[block.a + step], other[block.b + step])
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    ]
    lefts, rights = {left.value for left, _ in pairs}, {right.value for _, right in pairs}
    alone = (
        tuple(each.path for each in one if each.value not in lefts),
        tuple(each.path for each in other if each.value not in rights),
    )
    return pairs, alone


def _thin(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without axes of length 1, which models have more or fewer of."""
    return tuple(size for size in shape if size != 1)
