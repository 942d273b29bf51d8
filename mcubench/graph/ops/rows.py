"""What norms are made of where no kernel computes them whole."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.graph.ir import Op

__all__ = ["RowMean", "UnitRow"]


@dataclass(frozen=True, eq=False)
class RowMean(Op):
    """Mean over the last axis, which stays, of length 1; unlike that of `Reduce`, on a grid of its own."""


@dataclass(frozen=True, eq=False)
class UnitRow(Op):
    """x / sqrt(sum(x^2) + floor) over the last axis: rows of length 1, but for those that are near 0."""

    floor: float

    @property
    def label(self) -> str:
        """What it is a part of."""
        return "Norm"
