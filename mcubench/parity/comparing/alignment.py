"""Pairs a graph with a Keras model that somebody wrote by hand: by kind and order, as two people write one network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.graph import Graph, Node, ops
from mcubench.parity.comparing.keras_costs import keras_params
from mcubench.parity.comparing.kinds import (
    activation_of,
    holds_weights,
    is_activation,
    node_kind,
    only_moves,
    step_kinds,
)
from mcubench.parity.comparing.pairing import Pair, Pairing
from mcubench.parity.comparing.recording import Step
from mcubench.parity.comparing.report import difference
from mcubench.parity.comparing.structure import expected_params, squeezed

__all__ = ["align"]

# What speaks for two layers being the same one. The kind must agree; the rest decides among several.
_KIND, _NAME, _NUMBERS, _SHAPE, _WEIGHTS = 8, 5, 4, 2, 2
_ALIKE = 1e-3  # relative error below which numbers speak for a pair


@dataclass(frozen=True, eq=False)
class _Part:
    """One of the kinds that a step stands for; the last one makes its output."""

    step: Step
    kind: str
    is_last: bool


def align(
    graph: Graph, names: Mapping[Node, str], steps: Sequence[Step], values: Mapping[str, NDArray[Any]]
) -> Pairing:
    """Pairs nodes with steps.

    Layers with weights come first: the alignment in order that has most in common (kind, numbers, shape, weights).
    Parallel branches may be written in another order: of layers that look alike, those are paired whose numbers agree.
    An activation that Keras has inside a layer is that of the next node. What has no weights is paired where kind and
    shape agree between the same neighbours.

    Args:
        graph: The graph, channels last.
        names: What its nodes are called.
        steps: What Keras ran.
        values: Every value of the graph for the same samples, by name.
    """
    return _Alignment(graph, names, steps, values).run()


class _Alignment:
    def __init__(
        self, graph: Graph, names: Mapping[Node, str], steps: Sequence[Step], values: Mapping[str, NDArray[Any]]
    ) -> None:
        self.names = names
        self.values = values
        self.readers = graph.consumers()
        self.nodes = [node for node in graph.nodes if not only_moves(node)]
        self.steps = [step for step in steps if not only_moves(step)]

    def run(self) -> Pairing:
        anchors = [node for node in self.nodes if holds_weights(node)]
        parts = [
            _Part(step, kind, kind is step_kinds(step)[-1])
            for step in self.steps
            if holds_weights(step)
            for kind in step_kinds(step)
        ]
        matched = self._untangled(_aligned(anchors, parts, self._score))
        pairs: dict[Node, Pair] = {}
        one_sided: list[tuple[Pair, str]] = []
        inside: set[Node] = set()
        begun: dict[Step, Node] = {}  # the first of two nodes that one step stands for
        for node, part in matched.items():
            if not part.is_last:
                begun[part.step] = node
                continue
            reference, following, missing = self._reference(node, part.step)
            if following is not None:
                inside.add(following)
            nodes = (begun[part.step], node) if part.step in begun else (node,)
            pairs[node] = Pair(nodes, self.names[node], reference, (part.step,))
            if missing:
                one_sided.append((pairs[node], missing))
        paired = {node for pair in pairs.values() for node in pair.nodes}
        self._pair_others(pairs, paired | inside)
        paired = {node for pair in pairs.values() for node in pair.nodes}
        used = {pair.last for pair in pairs.values()}
        left = [node for node in self.nodes if node not in paired and node not in inside]
        rest = [step for step in self.steps if step not in used]
        return Pairing(
            pairs=tuple(sorted(pairs.values(), key=lambda pair: self.nodes.index(pair.node))),
            unpaired_nodes=tuple(node for node in left if holds_weights(node)),
            unpaired_steps=tuple(step for step in rest if holds_weights(step)),
            activations=tuple(one_sided),
            others=(
                *(f"only in PyTorch: {self.names[node]} ({node.op.label})" for node in left if not holds_weights(node)),
                *(f"only in Keras: {step.name} ({step.kind})" for step in rest if not holds_weights(step)),
            ),
        )

    def _score(self, node: Node, part: _Part) -> float:
        """How much speaks for a pair; 0 if nothing does."""
        if node_kind(node) != part.kind:
            return 0
        if not part.is_last:
            return _KIND
        reference, _, _ = self._reference(node, part.step)
        agrees = _agree(reference, part.step)
        shape = squeezed(reference.shape) == squeezed(part.step.output.shape)
        weights = expected_params(node) == keras_params(part.step.operation)
        name = self.names[node] == part.step.name
        return _KIND + _NAME * name + _NUMBERS * agrees + _SHAPE * shape + _WEIGHTS * weights

    def _reference(self, node: Node, step: Step) -> tuple[NDArray[Any], Node | None, str]:
        """What a step's output should be, the activation node inside it, and an activation that has no node."""
        reference = self.values[node.output.name]
        if isinstance(node.op, ops.Recurrent) and step.output.ndim == reference.ndim - 1:  # only the last step
            return self.values[node.outputs[1].name].reshape(len(reference), -1), None, ""
        activation = activation_of(step)
        if activation == "linear" or step_kinds(step)[-1] == activation:
            return reference, None, ""
        readers = self.readers[node.output]
        following = readers[0] if len(readers) == 1 and is_activation(readers[0]) else None
        if following is not None and (node_kind(following) == activation or not activation.isidentifier()):
            return self.values[following.output.name], following, ""
        if following is not None and _agree(self.values[following.output.name], step):
            return self.values[following.output.name], following, ""
        return reference, None, activation

    def _untangled(self, matched: dict[Node, _Part]) -> dict[Node, _Part]:
        """Branches side by side: exchanges layers that look alike where their numbers then agree."""
        wrong = [node for node, part in matched.items() if part.is_last and not self._numbers(node, part)]
        for node in wrong:
            for other in wrong:
                mine, theirs = matched[node], matched[other]
                if node is not other and mine.kind == theirs.kind and self._numbers(node, theirs):
                    matched[node], matched[other] = theirs, mine
                    break
        return matched

    def _numbers(self, node: Node, part: _Part) -> bool:
        return _agree(self._reference(node, part.step)[0], part.step)

    def _pair_others(self, pairs: dict[Node, Pair], done: set[Node]) -> None:
        """Pairs what has no weights, where kind and shape agree in both orders."""
        used = {pair.last for pair in pairs.values()}
        nodes = [node for node in self.nodes if node not in done]
        parts = [_Part(step, step_kinds(step)[-1], True) for step in self.steps if step not in used]

        def score(node: Node, part: _Part) -> float:
            reference = self.values[node.output.name]
            if node_kind(node) != part.kind or squeezed(reference.shape) != squeezed(part.step.output.shape):
                return 0
            return _KIND + _NUMBERS * _agree(reference, part.step)

        for node, part in _aligned(nodes, parts, score).items():
            pairs[node] = Pair((node,), self.names[node], self.values[node.output.name], (part.step,))


def _agree(reference: NDArray[Any], step: Step) -> bool:
    if len(reference) != len(step.output) or squeezed(reference.shape[1:]) != squeezed(step.output.shape[1:]):
        return False
    return difference(step.output, reference).within(_ALIKE)


def _aligned(nodes: Sequence[Node], parts: Sequence[_Part], score: Callable[[Node, _Part], float]) -> dict[Node, _Part]:
    """The pairs, in both orders, whose scores sum to most (Needleman and Wunsch, 1970, with free gaps)."""
    scores = np.array([[score(node, part) for part in parts] for node in nodes]).reshape(len(nodes), len(parts))
    best = np.zeros((len(nodes) + 1, len(parts) + 1))
    for i in range(len(nodes) - 1, -1, -1):
        for j in range(len(parts) - 1, -1, -1):
            pair = scores[i, j] + best[i + 1, j + 1] if scores[i, j] else 0
            best[i, j] = max(best[i + 1, j], best[i, j + 1], pair)
    found: dict[Node, _Part] = {}
    i = j = 0
    while i < len(nodes) and j < len(parts):
        if scores[i, j] and best[i, j] == scores[i, j] + best[i + 1, j + 1]:
            found[nodes[i]] = parts[j]
            i, j = i + 1, j + 1
        elif best[i, j] == best[i + 1, j]:
            i += 1
        else:
            j += 1
    return found
