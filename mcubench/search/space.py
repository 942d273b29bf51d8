"""What may be varied: a dimension an option, which says what it takes; as a model class says it, or a file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mcubench.errors import UserError

if TYPE_CHECKING:
    import optuna

__all__ = ["Choice", "Dimension", "Number", "Space", "Whole"]


@dataclass(frozen=True)
class Whole:
    """A whole number.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether a step from 4 to 8 counts as much as one from 8 to 16.

    Raises:
        UserError: If there is no number between the two, or a logarithm is asked for where one is not positive.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        if any(type(end) is not int for end in (self.low, self.high)):
            raise UserError(f"its ends must be whole numbers; got {self.low!r} and {self.high!r}")
        _check_ends(self.low, self.high, self.log)

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> int:
        """A number for a trial."""
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def some(self) -> tuple[int, ...]:
        """What is tried where the smallest model is looked for."""
        return self.low, self.high

    def __str__(self) -> str:
        return f"{self.low} to {self.high}{', by ratio' if self.log else ''}"


@dataclass(frozen=True)
class Number:
    """A number.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether ratios count, and not differences.

    Raises:
        UserError: As `Whole` does.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        for end in (self.low, self.high):
            if isinstance(end, bool) or not isinstance(end, (int, float)) or not math.isfinite(end):
                raise UserError(f"its ends must be finite numbers; got {self.low!r} and {self.high!r}")
        _check_ends(self.low, self.high, self.log)

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> float:
        """A number for a trial, of as many digits as are read without an effort."""
        return float(f"{trial.suggest_float(name, self.low, self.high, log=self.log):.4g}")

    def some(self) -> tuple[float, ...]:
        """What is tried where the smallest model is looked for: such numbers seldom change what a model costs."""
        return (self.low,)

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{', by ratio' if self.log else ''}"


@dataclass(frozen=True)
class Choice:
    """One of some values: plain ones, or lists of them.

    Attributes:
        values: All of them.

    Raises:
        UserError: If there is none, one stands there twice, or one is something else.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        try:
            texts = [json.dumps(value, allow_nan=False) for value in self.values]
        except (TypeError, ValueError):
            raise UserError(f"its values must be plain ones or lists of them; got {list(self.values)!r}") from None
        if not texts:
            raise UserError("it has no values")
        if len(set(texts)) < len(texts):
            raise UserError(f"it has a value twice: {', '.join(texts)}")

    def suggest(self, trial: optuna.trial.BaseTrial, name: str) -> Any:
        """A value for a trial; to Optuna, which takes no lists, it is a text."""
        return json.loads(trial.suggest_categorical(name, [json.dumps(value) for value in self.values]))

    def some(self) -> tuple[Any, ...]:
        """What is tried where the smallest model is looked for: all."""
        return self.values

    def __str__(self) -> str:
        return "one of " + ", ".join(json.dumps(value) for value in self.values)


Dimension: TypeAlias = Whole | Number | Choice

Space: TypeAlias = Mapping[str, Dimension]
"""Dimensions by option: of a class, by its names (``channels``); of a study, with their path (``model.channels``)."""


def _check_ends(low: float, high: float, log: bool) -> None:
    if low > high:
        raise UserError(f"its low end is above its high one: {low} and {high}")
    if log and low <= 0:
        raise UserError(f"with log its low end must be above 0; got {low}")
