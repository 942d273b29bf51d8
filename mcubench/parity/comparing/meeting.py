"""Where both sides hold the same numbers, whatever it is called and however many layers it takes to get there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.graph import Graph, Node
from mcubench.parity.comparing.kinds import activation_of, holds_weights, loses
from mcubench.parity.comparing.recording import Step
from mcubench.parity.comparing.report import difference

__all__ = ["ALIKE", "Meeting", "Meetings", "fitting", "squeezed"]

ALIKE = 1e-3  # relative error below which numbers speak for a layer being the same one
_SLIGHT = 0.1  # relative error above which two values are not one value with a mistake
_GLANCE = 256  # elements that rule out most pairs of values before all of them are compared


@dataclass(frozen=True, eq=False)
class Meeting:
    """The same numbers on both sides.

    Attributes:
        reference: PyTorch's, with the axes as Keras has them, shape (N, ...).
        inside: Nodes without weights that it took behind the layer, in order.
        steps: What Keras ran, from the layer to what made the numbers.
    """

    reference: NDArray[Any]
    inside: tuple[Node, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class _Reached:
    """A value behind layers: its name, the nodes that it took, and whether it has what these made as a whole."""

    name: str
    path: frozenset[Node]
    whole: bool


def squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without axes of size 1, which the two sides may have in other places."""
    return tuple(size for size in shape if size != 1)


def fitting(reference: NDArray[Any], found: NDArray[Any]) -> list[NDArray[Any]]:
    """The forms of a value that have the shape of Keras' output, the one with its own axes first.

    A value that was traced with the channels first has them last in Keras; steps may be merged with the batch there.
    """
    if reference.size != found.size:
        return []
    forms = [reference]
    if reference.ndim > 2:
        merged = reference.reshape(-1, *reference.shape[2:])
        forms += [np.moveaxis(reference, axis, -1) for axis in range(1, reference.ndim - 1)]
        forms += [np.moveaxis(reference, -1, 1), merged]
    shape = squeezed(found.shape[1:])
    return [each for each in forms if len(each) == len(found) and squeezed(each.shape[1:]) == shape]


class Meetings:
    """Finds where layers of both sides meet.

    Args:
        graph: The graph, channels last.
        steps: What Keras ran.
        values: Every value of the graph for the same samples, by name.
        rtol: The relative error that is allowed in the end.
    """

    def __init__(self, graph: Graph, steps: Sequence[Step], values: Mapping[str, NDArray[Any]], rtol: float) -> None:
        self.nodes = graph.nodes
        self.steps = list(steps)
        self.values = values
        self.rtol = rtol
        self._place_of_node = {node: place for place, node in enumerate(self.nodes)}
        self._place_of_step = {step: place for place, step in enumerate(self.steps)}
        self._norms: dict[str, float] = {}
        self._found: dict[tuple[tuple[Node, ...], tuple[Step, ...]], Meeting | None] = {}
        self._ours: dict[tuple[Node, ...], list[_Reached]] = {}
        self._theirs: dict[tuple[Step, ...], list[tuple[Step, ...]]] = {}

    def find(self, nodes: tuple[Node, ...], steps: tuple[Step, ...]) -> Meeting | None:
        """The first place behind layers of both sides where the numbers are the same, before others with weights.

        Args:
            nodes: Layers of the graph, in order. Of one, what counts is what is computed from it alone.
            steps: Layers of Keras, in order.

        Returns:
            ``None`` if they meet nowhere: they are not the same, or one of them has a mistake.
        """
        key = nodes, steps
        if key not in self._found:
            self._found[key] = self._search(nodes, steps)
        return self._found[key]

    def _search(self, nodes: tuple[Node, ...], steps: tuple[Step, ...]) -> Meeting | None:
        alone = len(nodes) == len(steps) == 1
        if alone:
            output, step = nodes[0].output.name, steps[0]
            if (reference := self.same(output, step, ALIKE)) is not None:
                return Meeting(reference, (), steps)
            if activation_of(step) == "linear" and self._differs_slightly(output, step):
                return None  # behind it the difference may be smaller, and is one nevertheless
        ours, theirs = self._behind_nodes(nodes), self._behind_steps(steps)
        sizes = [self.values[each.name].size for each in ours], [path[-1].output.size for path in theirs]
        near = sorted(
            (i + j, i, j) for i, size in enumerate(sizes[0]) for j, other in enumerate(sizes[1]) if size == other
        )
        for _, i, j in near:
            if j and not ours[i].whole:
                continue  # a maximum over all, or the class, would hide a mistake that Keras shows before it
            if (reference := self.same(ours[i].name, theirs[j][-1], min(self.rtol, ALIKE))) is not None:
                inside = sorted(ours[i].path.difference(nodes), key=self._place_of_node.__getitem__)
                return Meeting(reference, tuple(inside), theirs[j])
        return None

    def same(self, name: str, step: Step, tolerance: float) -> NDArray[Any] | None:
        """A value, by name, in the form in which it is what a step made; ``None`` if it is not."""
        for form in fitting(self.values[name], step.output):
            if self._may_be_same(name, form, step, tolerance) and difference(step.output, form).within(tolerance):
                return form
        return None

    def _may_be_same(self, name: str, form: NDArray[Any], step: Step, tolerance: float) -> bool:
        """Whether some elements allow it: the difference of all is not smaller than theirs."""
        if name not in self._norms:
            self._norms[name] = float(np.linalg.norm(np.asarray(self.values[name], np.float64)))
        some, other = (np.asarray(each.flat[:_GLANCE], np.float64) for each in (step.output, form))
        with np.errstate(invalid="ignore"):
            return not np.linalg.norm(some - other) > tolerance * self._norms[name]  # infinities compare as False

    def _differs_slightly(self, name: str, step: Step) -> bool:
        """Whether the first sample is nearly the same."""
        return any(
            difference(step.output[:1], form[:1]).within(_SLIGHT) for form in fitting(self.values[name], step.output)
        )

    def _behind_nodes(self, members: tuple[Node, ...]) -> list[_Reached]:
        """Values that took all of these layers and no others.

        Of several layers also values that took something else as well: that these belong together is known by then
        from what they hold.
        """
        if members not in self._ours:
            self._ours[members] = [each for each in self._reached(members) if each.path.issuperset(members)]
        return self._ours[members]

    def _reached(self, members: tuple[Node, ...]) -> Iterator[_Reached]:
        made: dict[str, _Reached] = {}
        for node in self.nodes[self._place_of_node[members[0]] :]:
            known = [made[value.name] for value in node.inputs if value.name in made]
            enough = bool(known) and (len(members) > 1 or len(known) == len(node.inputs))
            if node in members or (enough and not holds_weights(node)):
                path = frozenset((node,)).union(*(before.path for before in known))
                whole = node in members or (any(before.whole for before in known) and not loses(node))
                for value in node.outputs:
                    made[value.name] = _Reached(value.name, path, whole)
                    yield made[value.name]

    def _behind_steps(self, members: tuple[Step, ...]) -> list[tuple[Step, ...]]:
        """What Keras computes from the last of these layers, or from all: each as the steps that it took."""
        if members not in self._theirs:
            made = {each: frozenset((each,)) for each in members}
            for step in self.steps[self._place_of_step[members[-1]] + 1 :]:
                known = [made[each] for each in step.sources if each in made]
                enough = bool(known) and (len(members) > 1 or len(known) == len(step.inputs))
                if enough and not holds_weights(step):
                    made[step] = frozenset((step,)).union(*known)
            self._theirs[members] = [
                tuple(sorted(made[step].union(members), key=self._place_of_step.__getitem__))
                for step in list(made)[len(members) - 1 :]
            ]
        return self._theirs[members]
