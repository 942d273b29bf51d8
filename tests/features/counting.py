"""Numbers that count what is done with them."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Tally:
    """How often each operation was done, by stage."""

    def __init__(self) -> None:
        self.stages: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.running: Counter[str] = self.stages["nothing"]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts for a stage, until it ends or another one begins within."""
        outer, self.running = self.running, self.stages[name]
        yield
        self.running = outer


class Counted:
    """A number; a product that is the very next thing added or subtracted becomes one MAC with that."""

    __slots__ = ("fresh", "tally", "value")

    def __init__(self, value: float, tally: Tally, fresh: bool = False) -> None:
        self.value, self.tally, self.fresh = value, tally, fresh

    def _done(self, operation: str, value: float, fresh: bool = False) -> Counted:
        self.tally.running[operation] += 1
        return Counted(value, self.tally, fresh)

    def _added(self, other: Any, value: float) -> Counted:
        for each in (self, other):
            if isinstance(each, Counted) and each.fresh:
                each.fresh = False
                self.tally.running["multiplications"] -= 1
                return self._done("macs", value)
        return self._done("additions", value)

    def __add__(self, other: Any) -> Counted:
        return self._added(other, self.value + float(other))

    def __radd__(self, other: float) -> Counted:
        return self._added(other, other + self.value)

    def __sub__(self, other: Any) -> Counted:
        return self._added(other, self.value - float(other))

    def __rsub__(self, other: float) -> Counted:
        return self._added(other, other - self.value)

    def __mul__(self, other: Any) -> Counted:
        return self._done("multiplications", self.value * float(other), fresh=True)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Counted:
        return self._done("divisions", self.value / float(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self._done("comparisons", self.value < float(other)).value)

    def __gt__(self, other: Any) -> bool:
        return bool(self._done("comparisons", self.value > float(other)).value)

    def __abs__(self) -> Counted:
        return self._done("comparisons", abs(self.value))

    def __float__(self) -> float:
        return self.value

    def sqrt(self) -> Counted:
        return self._done("roots", math.sqrt(self.value))

    def acos(self) -> Counted:
        return self._done("arccosines", math.acos(self.value))


def sqrt(x: Any) -> Any:
    """The square root, of what is counted and of what is not."""
    return x.sqrt() if isinstance(x, Counted) else math.sqrt(x)


def settle(found: Any) -> Any:
    """What is stored is no fresh product any more, wherever it is added later."""
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, Counted):
            each.fresh = False
    return found
