"""How much callbacks change, held against what is possible."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mcubench.errors import UserError

__all__ = ["checked_amounts"]


def checked_amounts(owner: object, amounts: Mapping[str, float], below: Mapping[str, float]) -> None:
    """Sees that amounts are possible, and not all 0.

    Args:
        owner: Whose they are.
        amounts: By name.
        below: What some of them must be below; the others, below infinity.

    Raises:
        UserError: If they are not.
    """
    for name, value in amounts.items():
        most = below.get(name, math.inf)
        if not 0 <= value < most:
            allowed = "finite and not negative" if most == math.inf else f"0 to {math.floor(most)}"
            raise UserError(f"{name} must be {allowed}, got {value}")
    if not any(amounts.values()):
        raise UserError(f"{type(owner).__name__} would change nothing: say how much, by {', '.join(amounts)}")
