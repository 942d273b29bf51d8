"""Pairs a graph with a Keras model that somebody wrote by hand: by kind and order, as two people write one network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.graph import Graph, Node, ops
from mcubench.graph.ir import Value
from mcubench.parity.comparing.gaps import groups
from mcubench.parity.comparing.keras_costs import keras_params
from mcubench.parity.comparing.kinds import (
    activation_of,
    cuts,
    holds_weights,
    is_activation,
    node_kind,
    only_moves,
    step_kinds,
)
from mcubench.parity.comparing.meeting import ALIKE, Meetings, fitting
from mcubench.parity.comparing.pairing import Pair, Pairing
from mcubench.parity.comparing.recording import Step
from mcubench.parity.comparing.rewriting import written_otherwise
from mcubench.parity.comparing.structure import expected_params, weights_of_nodes, weights_of_steps

__all__ = ["align"]

# What speaks for two layers being the same one. The kind must agree; the rest decides among several.
_KIND, _NAME, _NUMBERS, _SHAPE, _WEIGHTS = 8, 5, 4, 2, 2


@dataclass(frozen=True, eq=False)
class _Part:
    """One of the kinds that a step stands for; the last one makes its output."""

    step: Step
    kind: str
    is_last: bool


def align(
    graph: Graph,
    names: Mapping[Node, str],
    steps: Sequence[Step],
    values: Mapping[str, NDArray[Any]],
    rtol: float,
    outputs_agree: bool,
) -> Pairing:
    """Pairs nodes with steps.

    Layers with weights come first: the alignment in order that has most in common (kind, numbers, shape, weights).
    Parallel branches may be written in another order: of layers that look alike, those are paired whose numbers agree.
    A layer is compared where both sides hold the same numbers: behind an activation that one side has inside it, or
    behind a cut that the other makes with its padding. Layers that one side has in other pieces are paired as a group.
    What has no weights is paired where kind and shape agree between the same neighbours.

    Args:
        graph: The graph, channels last.
        names: What its nodes are called.
        steps: What Keras ran.
        values: Every value of the graph for the same samples, by name.
        rtol: The relative error that is allowed.
        outputs_agree: Whether the outputs of the whole agree.
    """
    return _Alignment(graph, names, steps, values, rtol, outputs_agree).run()


class _Alignment:
    def __init__(
        self,
        graph: Graph,
        names: Mapping[Node, str],
        steps: Sequence[Step],
        values: Mapping[str, NDArray[Any]],
        rtol: float,
        outputs_agree: bool,
    ) -> None:
        self.graph = graph
        self.names = names
        self.values = values
        self.rtol = rtol
        self.outputs_agree = outputs_agree
        self.readers = graph.consumers()
        self.nodes = [node for node in graph.nodes if not only_moves(node)]
        self.steps = [step for step in steps if not only_moves(step)]
        self.meetings = Meetings(graph, steps, values, rtol)

    def run(self) -> Pairing:
        pairs = self._pair_layers()
        self._pair_others(pairs)
        covered = {node for pair in pairs for node in (*pair.nodes, *pair.inside)}
        used = {step for pair in pairs for step in pair.steps}
        left = [node for node in self.nodes if node not in covered]
        rest = [step for step in self.steps if step not in used]
        otherwise = written_otherwise(self.graph, pairs, self.rtol, self.outputs_agree)
        pairs.sort(key=lambda pair: self.graph.nodes.index(pair.node))
        return Pairing(
            pairs=tuple(pair for pair in pairs if pair not in otherwise),
            unpaired_nodes=tuple(node for node in left if self._must_be_there(node)),
            unpaired_steps=tuple(step for step in rest if holds_weights(step)),
            others=(
                *(
                    f"only in PyTorch: {self.names[node]} ({node.op.label})"
                    for node in left
                    if not self._must_be_there(node)
                ),
                *(f"only in Keras: {step.name} ({step.kind})" for step in rest if not holds_weights(step)),
                *(f"written otherwise: {pair.label}, in Keras {pair.last.name}" for pair in otherwise),
            ),
        )

    def _must_be_there(self, node: Node) -> bool:
        """Whether Keras must have a layer for it: statistics alone, nothing trained, may be arithmetic there."""
        trained = any(source in self.graph.parameters for _, weight in node.op.weights() for source in weight.sources)
        return holds_weights(node) and (trained or not self.outputs_agree)

    def _pair_layers(self) -> list[Pair]:
        """Pairs and groups of layers with weights."""
        layers = [step for step in self.steps if holds_weights(step)]
        parts = [_Part(step, kind, kind is step_kinds(step)[-1]) for step in layers for kind in step_kinds(step)]
        matched = self._untangled(_aligned(list(filter(holds_weights, self.nodes)), parts, self._score))
        pairs: list[Pair] = []
        known: dict[Node, Step] = {}
        begun: dict[Step, Node] = {}  # the first of two nodes that one step stands for
        for node, part in matched.items():
            if not part.is_last:
                begun[part.step] = node
                continue
            nodes = (begun[part.step], node) if part.step in begun else (node,)
            pairs.append(self._pair(nodes, part.step))
            complete = weights_of_nodes(nodes) == weights_of_steps([part.step])  # and not the first half, say
            if complete and self.meetings.find((node,), (part.step,)) is not None:
                known.update(dict.fromkeys(nodes, part.step))
        holders = [node for node in self.nodes if any(node.op.weights())]
        for some, others, meeting in groups(holders, layers, known, self.meetings):
            pairs = [pair for pair in pairs if not {*pair.nodes} & {*some} and not {*pair.steps} & {*others}]
            pairs.append(Pair(some, self.names[some[-1]], meeting.reference, meeting.steps, meeting.inside))
        return pairs

    def _score(self, node: Node, part: _Part) -> float:
        """How much speaks for a pair; 0 if nothing does."""
        if node_kind(node) != part.kind:
            return 0
        if not part.is_last:
            return _KIND
        meets = self._numbers(node, part)
        shape = bool(fitting(self._pair((node,), part.step).reference, part.step.output))
        weights = expected_params(node) == keras_params(part.step.operation)
        name = self.names[node] == part.step.name
        return _KIND + _NAME * name + _NUMBERS * meets + _SHAPE * shape + _WEIGHTS * weights

    def _pair(self, nodes: tuple[Node, ...], step: Step) -> Pair:
        """A step as the counterpart of nodes, compared where both have the same numbers, or should have."""
        label = self.names[nodes[-1]]
        reference, inside, activation = self._expected(nodes[-1], step)
        if meeting := self.meetings.find(nodes[-1:], (step,)):
            if any(not (only_moves(node) or cuts(node)) for node in meeting.inside):
                activation = ""  # written by hand, if Keras ends with one
            return Pair(nodes, label, meeting.reference, meeting.steps, meeting.inside or inside, activation)
        return Pair(nodes, label, next(iter(fitting(reference, step.output)), reference), (step,), inside, activation)

    def _expected(self, node: Node, step: Step) -> tuple[NDArray[Any], tuple[Node, ...], str]:
        """What a step's output should be, the nodes that it has inside, and an activation that has no node."""
        reference = self.values[node.output.name]
        if isinstance(node.op, ops.Recurrent) and step.output.ndim == reference.ndim - 1:  # only the last step
            return self.values[node.outputs[1].name].reshape(len(reference), -1), (), ""
        activation = activation_of(step)
        if activation in ("linear", step_kinds(step)[-1], getattr(node.op, "activation", None)):
            activation = ""
        reached = [line for line in self._lines(node) if _ends_with(line, activation)]
        ends = [(self.values[line[-1].output.name], line) for line in reached if line]
        if not activation:
            ends.insert(0, (reference, ()))
        elif not ends:
            return reference, (), activation
        fits = [end for end in ends if fitting(end[0], step.output)]
        return *(fits or ends)[0], ""

    def _lines(self, node: Node) -> Iterator[tuple[Node, ...]]:
        """The nodes behind a layer that alone read it, one after another: moves, cuts and one activation."""
        line: tuple[Node, ...] = ()
        yield line
        value: Value = node.output
        while len(readers := self.readers[value]) == 1:
            (reader,) = readers
            if not (
                only_moves(reader) or cuts(reader) or (is_activation(reader) and not any(map(is_activation, line)))
            ):
                return
            line, value = (*line, reader), reader.output
            yield line

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
        return self.meetings.find((node,), (part.step,)) is not None

    def _pair_others(self, pairs: list[Pair]) -> None:
        """Pairs what has no weights, where kind and shape agree in both orders."""
        covered = {node for pair in pairs for node in (*pair.nodes, *pair.inside)}
        used = {step for pair in pairs for step in pair.steps}
        nodes = [node for node in self.nodes if node not in covered]
        parts = [_Part(step, step_kinds(step)[-1], True) for step in self.steps if step not in used]

        def score(node: Node, part: _Part) -> float:
            name = node.output.name
            if node_kind(node) != part.kind or not fitting(self.values[name], part.step.output):
                return 0
            return _KIND + _NUMBERS * (self.meetings.same(name, part.step, ALIKE) is not None)

        for node, part in _aligned(nodes, parts, score).items():
            name = node.output.name
            reference = self.meetings.same(name, part.step, ALIKE)
            if reference is None:
                reference = fitting(self.values[name], part.step.output)[0]
            pairs.append(Pair((node,), self.names[node], reference, (part.step,)))


def _ends_with(line: Sequence[Node], activation: str) -> bool:
    """Whether the activation among some nodes is that one, or none if it is empty; a lambda may be any."""
    kinds = [node_kind(node) for node in line if is_activation(node)]
    if not activation:
        return not kinds
    return kinds == [activation] or (bool(kinds) and not activation.isidentifier())


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
