"""The count of another tool: of what it is made, layer by layer, and how it comes from ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["PRODUCTS", "Part", "Parts", "ToolCount", "no_rule"]

PRODUCTS = "products"


@dataclass(frozen=True)
class Part:
    """Some of what a tool counts in a layer.

    Attributes:
        reason: What is counted, in a few words.
        count: How much; ``None`` where no rule is known.
    """

    reason: str
    count: int | None


# The first part of a layer stands where our multiply-accumulates stand; the others come on top.
Parts = tuple[Part, ...]


def no_rule(label: str) -> Parts:
    """What a tool counts for an operation of which nobody could check what it counts."""
    return (Part(f"{label} (no rule known)", None),)


@dataclass(frozen=True)
class ToolCount:
    """What a tool counts for one sample of a model.

    Attributes:
        tool: The key of the tool.
        name: What it is called by those who make it.
        layers: The parts of each node, in the order of the graph.
        macs: Our multiply-accumulates of each node, without biases; ``None`` where they are not known.
    """

    tool: str
    name: str
    layers: tuple[Parts, ...]
    macs: tuple[int | None, ...]

    @property
    def by_layer(self) -> tuple[int | None, ...]:
        """The count of each node; ``None`` where a part of it is not known."""
        return tuple(None if any(part.count is None for part in parts) else _known(parts) for parts in self.layers)

    @property
    def total(self) -> int | None:
        """The count of the model; ``None`` if some part of it is not known."""
        return None if None in self.by_layer else self.lower_bound

    @property
    def lower_bound(self) -> int:
        """The sum of all that is known: the model's count is no less."""
        return sum(_known(parts) for parts in self.layers)

    @property
    def differences(self) -> tuple[Part, ...]:
        """What leads from our MACs to `lower_bound`, by reason; one that is not known is ``None``, and counts nothing.

        Where a layer has no rule, the products that we count there are taken off. Empty if our MACs are not known.
        """
        if None in self.macs:
            return ()
        known: dict[str, int] = {}
        unknown: dict[str, None] = {}
        for parts, macs in zip(self.layers, self.macs, strict=True):
            known[parts[0].reason] = known.get(parts[0].reason, 0) - (macs or 0)
            for part in parts:
                known[part.reason] = known.get(part.reason, 0) + (part.count or 0)
                if part.count is None:
                    unknown[part.reason] = None
        found = [Part(reason, count) for reason, count in known.items() if count]
        return (*found, *(Part(reason, None) for reason in unknown))

    def why(self) -> str:
        """The count beside ours, and each difference, in a line."""
        least = "" if self.total is not None else "at least "
        if None in self.macs:
            return f"{self.tool} counts {least}{self.lower_bound:,}; the MACs of the convention here are not known"
        ours = sum(each or 0 for each in self.macs)
        if not self.differences:
            return f"{self.tool} counts {self.lower_bound:,}, as the convention here does"
        terms = ", ".join(_term(part) for part in self.differences)
        return f"{self.tool} counts {least}{self.lower_bound:,} where the convention here counts {ours:,}: {terms}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``null`` stands for what is not known."""
        return {
            "name": self.name,
            "total": self.total,
            "lower_bound": self.lower_bound,
            "differences": [{"reason": part.reason, "count": part.count} for part in self.differences],
            "why": self.why(),
        }


def _known(parts: Iterable[Part]) -> int:
    return sum(part.count or 0 for part in parts)


def _term(part: Part) -> str:
    if part.count is None:
        return f"+ ? {part.reason}"
    return f"{'-' if part.count < 0 else '+'} {abs(part.count):,} {part.reason}"
