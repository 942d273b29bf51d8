"""What two people wrote in another order, and computes the same in the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mcubench.graph import Graph, Node
from mcubench.parity.comparing.kinds import holds_weights
from mcubench.parity.comparing.pairing import Pair

__all__ = ["written_otherwise"]


def written_otherwise(graph: Graph, pairs: Sequence[Pair], rtol: float, outputs_agree: bool) -> list[Pair]:
    """Pairs without weights whose numbers differ while all that is computed from them is the same.

    Numbers do not become right again behind a mistake, so that these were no counterparts: (a + b) / 2 has its sum
    before the division, a / 2 + b / 2 behind it.

    Args:
        graph: The graph.
        pairs: All pairs.
        rtol: The relative error that is allowed.
        outputs_agree: Whether the outputs of the whole agree.
    """
    owners = {node: pair for pair in pairs for node in (*pair.nodes, *pair.inside)}
    agrees = {pair: pair.within(rtol) for pair in pairs}
    readers = graph.consumers()
    found: list[Pair] = []

    def behind(start: Node) -> Iterator[bool]:
        """Whether the nearest pairs behind a node agree, and the outputs where it reaches them without any."""
        reached = [start]
        for node in reached:  # grows while it is read
            if not set(node.outputs).isdisjoint(graph.outputs):
                yield outputs_agree
            for reader in (each for value in node.outputs for each in readers[value] if each not in reached):
                owner = owners.get(reader)
                if not reader.output.dtype.is_floating_point:  # of a class, say, nothing can be told
                    yield False
                elif owner is None or owner in found:
                    reached.append(reader)
                else:
                    yield agrees[owner]

    for pair in sorted(pairs, key=lambda pair: graph.nodes.index(pair.node), reverse=True):
        if not agrees[pair] and not holds_weights(pair.node):
            verdicts = list(behind(pair.node))
            if verdicts and all(verdicts):
                found.append(pair)
    return found
