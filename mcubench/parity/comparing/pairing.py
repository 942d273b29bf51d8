"""Which Keras layers stand for which nodes of the graph, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mcubench.graph import Graph, Node
from mcubench.parity.comparing.kinds import activation_of, holds_weights, only_moves
from mcubench.parity.comparing.meeting import squeezed
from mcubench.parity.comparing.recording import Step
from mcubench.parity.comparing.report import Difference, difference

__all__ = ["Pair", "Pairing", "by_name", "has_the_names"]


@dataclass(frozen=True, eq=False)
class Pair:
    """What does the same on both sides.

    Attributes:
        nodes: The nodes, in order; more than one where Keras has a layer for several.
        label: What the last of them is called.
        reference: What Keras' output should be, with its axes as Keras has them, shape (N, ...).
        steps: What Keras does there, in order; more than one where padding, cropping or an activation is a layer of its
            own, or PyTorch has a layer for several.
        inside: Nodes without weights behind them that Keras' output has been through, too: an activation, a cut.
        activation: What Keras alone ends with, if anything.
    """

    nodes: tuple[Node, ...]
    label: str
    reference: NDArray[Any]
    steps: tuple[Step, ...]
    inside: tuple[Node, ...] = ()
    activation: str = ""

    @property
    def node(self) -> Node:
        """The last of the nodes."""
        return self.nodes[-1]

    @property
    def last(self) -> Step:
        """The step that makes the output."""
        return self.steps[-1]

    def difference(self) -> Difference | None:
        """How far Keras' output is from the reference; ``None`` if it has another shape."""
        found, reference = self.last.output, self.reference
        # Axes of size 1 may be in other places within a model; the batch may not.
        fits = len(found) == len(reference) and squeezed(found.shape[1:]) == squeezed(reference.shape[1:])
        return difference(found, reference) if fits else None

    def within(self, rtol: float) -> bool:
        """Whether Keras' output is the reference up to a relative error."""
        found = self.difference()
        return found is not None and found.within(rtol)


@dataclass(frozen=True)
class Pairing:
    """The pairs, and what is left over.

    Attributes:
        pairs: In the order of the graph.
        unpaired_nodes: Nodes that Keras has no layer for, and should.
        unpaired_steps: Keras layers that no node stands for, and should.
        others: What is on one side only and may be no mistake, in words.
    """

    pairs: tuple[Pair, ...]
    unpaired_nodes: tuple[Node, ...]
    unpaired_steps: tuple[Step, ...]
    others: tuple[str, ...] = ()

    def has_other_numbers(self, rtol: float) -> bool:
        """Whether some pair differs in more than its shape."""
        found = (pair.difference() for pair in self.pairs)
        return any(each is not None and not each.within(rtol) for each in found)

    def faults(self, rtol: float) -> int:
        """How much is left over, or ends with an activation of its own, or is not the same."""
        left = len(self.unpaired_nodes) + len(self.unpaired_steps)
        return left + sum(bool(pair.activation) or not pair.within(rtol) for pair in self.pairs)


def has_the_names(graph: Graph, names: Mapping[Node, str], steps: Sequence[Step]) -> bool:
    """Whether most nodes have a layer of their name, as `mcubench.parity.to_keras` gives them, each its own.

    Somebody who writes a model by hand may take the names of the modules too, and has activations inside layers.
    """
    wanted = {names[node] for node in graph.nodes if holds_weights(node) or not only_moves(node)}
    wanted = wanted or set(names.values())
    found = wanted & {step.name for step in steps}
    ours = [step for step in steps if step.name.partition("-")[0] in names.values()]
    as_built = all(only_moves(step) or step in ours for step in steps) and not any(
        holds_weights(step) and activation_of(step) != "linear" for step in steps
    )
    return found == wanted or (as_built and 2 * len(found) > len(wanted))


def by_name(
    graph: Graph, names: Mapping[Node, str], steps: Sequence[Step], values: Mapping[str, NDArray[Any]]
) -> Pairing:
    """Pairs nodes with the steps of their names; names with a hyphen and more belong to what comes before the hyphen.

    Args:
        graph: The graph, channels last.
        names: What its nodes are called.
        steps: What Keras ran.
        values: Every value of the graph for the same samples, by name.
    """
    calls: dict[str, list[tuple[Step, ...]]] = {}
    before: dict[str, list[Step]] = {}
    wanted = set(names.values())
    left = []
    for step in steps:
        label = step.name
        while label not in wanted and "-" in label:
            label = label.rpartition("-")[0]
        if label not in wanted:
            left.append(step)
        elif step.name == label:
            calls.setdefault(label, []).append((*before.pop(label, []), step))
        else:
            before.setdefault(label, []).append(step)
    pairs, missing = [], []
    for node in graph.nodes:
        reference = values[node.output.name]
        if found := calls.get(names[node]):
            # A layer that is called several times: Keras may run parallel branches in another order.
            nearest = min(found, key=lambda call: _distance(call[-1], reference))
            found.remove(nearest)
            pairs.append(Pair((node,), names[node], reference, nearest))
        elif holds_weights(node) or not only_moves(node):
            missing.append(node)
    return Pairing(tuple(pairs), tuple(missing), tuple(step for step in left if not only_moves(step)))


def _distance(step: Step, reference: NDArray[Any]) -> float:
    fits = step.output.shape == reference.shape
    return difference(step.output, reference).relative if fits else float("inf")
