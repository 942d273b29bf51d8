"""Which Keras layers stand for which nodes of the graph, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mcubench.graph import Graph, Node
from mcubench.parity.comparing.kinds import activation_of, holds_weights, only_moves
from mcubench.parity.comparing.recording import Step
from mcubench.parity.comparing.report import difference

__all__ = ["Pair", "Pairing", "by_name", "has_the_names"]


@dataclass(frozen=True, eq=False)
class Pair:
    """What does the same on both sides.

    Attributes:
        nodes: The nodes, in order; more than one where Keras has a layer for several.
        label: What the last of them is called.
        reference: What Keras' output should be, shape (N, ...).
        steps: What Keras does there, in order; more than one where padding or cropping is a layer of its own.
    """

    nodes: tuple[Node, ...]
    label: str
    reference: NDArray[Any]
    steps: tuple[Step, ...]

    @property
    def node(self) -> Node:
        """The node that makes the output."""
        return self.nodes[-1]

    @property
    def last(self) -> Step:
        """The step that makes the output."""
        return self.steps[-1]


@dataclass(frozen=True)
class Pairing:
    """The pairs, and what is left over.

    Attributes:
        pairs: In the order of the graph.
        unpaired_nodes: Nodes that Keras has no layer for, and should.
        unpaired_steps: Keras layers that no node stands for, and should.
        activations: Pairs in which Keras alone applies an activation.
        others: What is on one side only and may be no mistake, in words.
    """

    pairs: tuple[Pair, ...]
    unpaired_nodes: tuple[Node, ...]
    unpaired_steps: tuple[Step, ...]
    activations: tuple[tuple[Pair, str], ...] = ()
    others: tuple[str, ...] = ()

    @property
    def strays(self) -> int:
        """How much is left over."""
        return len(self.unpaired_nodes) + len(self.unpaired_steps) + len(self.activations)


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
