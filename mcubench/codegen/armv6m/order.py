"""In which order positions are computed, and what that means for memory."""

from __future__ import annotations

from collections.abc import Sequence

from mcubench.codegen.layers import Positions
from mcubench.codegen.program import Step

__all__ = ["lead_of"]


def lead_of(step: Step, found: Positions, starts: Sequence[int], together: int, own: bool) -> int:
    """How many bytes before its input an output has to begin, so that it may lie over it.

    Args:
        step: The step.
        found: Its positions.
        starts: The first of the positions that are computed together, row by row; they may overlap.
        together: How many those are.
        own: Whether what they need is still read while they are written, as there is no copy.
    """
    channels, outputs = step.x.shape[3], step.output.shape[3]
    down, across = found.count
    farthest, needed = 0, down * across * outputs  # needed: the first byte that is read later on
    for start in reversed(starts):
        first = min(
            (found.first(0, at // across) * found.size[1] + found.first(1, at % across)) * channels
            for at in range(start, start + together)
        )
        written = (start + together) * outputs
        farthest = max(farthest, written - (min(needed, first) if own else needed))
        needed = min(needed, first)
    return farthest
