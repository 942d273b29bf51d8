"""How much callbacks change, held against what is possible."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mcubench.errors import UserError

__all__ = ["checked_amounts"]


def checked_amounts(owner: object, amounts: Mapping[str, float], most: Mapping[str, float]) -> None:
    """Sees that amounts are possible, and not all 0.

    Args:
        owner: Whose they are.
        amounts: By name.
        most: What some of them may be at most; the others are finite.

    Raises:
        UserError: If they are not.
    """
    for name, value in amounts.items():
        limit = most.get(name)
        if not 0 <= value < math.inf or (limit is not None and value > limit):
            allowed = "finite and not negative" if limit is None else f"0 to {limit:g}"
            raise UserError(f"{name} must be {allowed}, got {value}")
    if not any(amounts.values()):
        raise UserError(f"{type(owner).__name__} would change nothing: say how much, by {', '.join(amounts)}")
