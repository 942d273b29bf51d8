"""Layers that one side has in other pieces than the other: several for one, one for several, or of another kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mcubench.graph import Node
from mcubench.parity.comparing.kinds import holds_weights
from mcubench.parity.comparing.meeting import Meeting, Meetings
from mcubench.parity.comparing.recording import Step
from mcubench.parity.comparing.structure import weights_of_nodes, weights_of_steps

__all__ = ["Group", "groups"]

Group = tuple[tuple[Node, ...], tuple[Step, ...], Meeting]  # with the layers among the nodes, if these have the weights


def groups(
    nodes: Sequence[Node], steps: Sequence[Step], known: Mapping[Node, Step], meetings: Meetings
) -> Iterator[Group]:
    """Groups what stands between layers that are known to be the same.

    A group has as many weights on both sides, and makes the same numbers in the end.

    Args:
        nodes: All nodes of the graph that hold weights, in order; also those that are no layers, as positions are.
        steps: All Keras layers that hold weights, in order.
        known: The nodes of which the layer is known.
        meetings: Finds where both sides hold the same numbers.
    """
    for some, others in _gaps(nodes, steps, known):
        yield from _in_gap(some, others, meetings)


def _gaps(
    nodes: Sequence[Node], steps: Sequence[Step], known: Mapping[Node, Step]
) -> Iterator[tuple[list[Node], list[Step]]]:
    places = {step: place for place, step in enumerate(steps)}
    taken = set(known.values())
    gap: list[Node] = []
    start = 0
    for node in (*nodes, None):
        end = len(steps) if node is None else places[known[node]] if node in known else -1
        if end < start:  # not known; or of branches that Keras runs in another order
            if node is not None and node not in known:
                gap.append(node)
            continue
        yield gap, [step for step in steps[start:end] if step not in taken]
        gap, start = [], end + 1


def _in_gap(nodes: Sequence[Node], steps: Sequence[Step], meetings: Meetings) -> Iterator[Group]:
    """From the front, the smallest group first; what belongs to no group stays for others to name."""
    while nodes and steps:
        found = _first_group(nodes, steps, meetings)
        if found is not None:
            yield found
            nodes, steps = nodes[nodes.index(found[0][-1]) + 1 :], steps[len(found[1]) :]
        elif holds_weights(nodes[0]):
            return
        else:  # arithmetic with a weight: no layer in Keras either
            nodes = nodes[1:]


def _first_group(nodes: Sequence[Node], steps: Sequence[Step], meetings: Meetings) -> Group | None:
    ours = [tuple(nodes[: count + 1]) for count in range(len(nodes))]
    ours += [tuple(filter(holds_weights, each)) for each in ours]  # a factor may be a constant on both sides
    theirs = [tuple(steps[: count + 1]) for count in range(len(steps))]
    expected, have = list(map(weights_of_nodes, ours)), list(map(weights_of_steps, theirs))
    alike = ((i, j) for i, wanted in enumerate(expected) for j, found in enumerate(have) if found == wanted)
    for i, j in sorted(alike, key=lambda pair: len(ours[pair[0]]) + pair[1]):
        if (meeting := meetings.find(ours[i], theirs[j])) is not None:
            return ours[i], theirs[j], meeting
    return None
