"""Tables of a format: a rule for each of its operators, registered where it stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["Rules"]

R = TypeVar("R")


class Rules(dict[str, R]):
    """Rules by what a format calls its operators."""

    def of(self, *names: str) -> Callable[[R], R]:
        """Enters a rule for operators of these names."""

        def enter(rule: R) -> R:
            self.update(dict.fromkeys(names, rule))
            return rule

        return enter
