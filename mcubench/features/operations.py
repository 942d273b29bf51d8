"""Counts of arithmetic operations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

__all__ = ["Operations"]


@dataclass(frozen=True)
class Operations:
    """Numbers of arithmetic operations.

    Attributes:
        macs: Multiplications whose product is added to, or taken from, something at once.
        multiplications: All others.
        additions: Additions and subtractions of what is no fresh product.
        comparisons: Comparisons, minima, maxima and absolute values.
        divisions: Divisions; one by a constant is a multiplication.
        roots: Square roots.
        arccosines: Inverse cosines.
    """

    macs: int = 0
    multiplications: int = 0
    additions: int = 0
    comparisons: int = 0
    divisions: int = 0
    roots: int = 0
    arccosines: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    def __mul__(self, times: int) -> Operations:
        return Operations(*(times * getattr(self, each.name) for each in fields(self)))

    @property
    def other(self) -> int:
        """All that are not multiply-accumulates."""
        counts: list[int] = list(asdict(self).values())
        return sum(counts) - self.macs
