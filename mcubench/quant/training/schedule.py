"""When rounding begins and when ranges are settled."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from mcubench.errors import UserError

__all__ = ["Phase", "Schedule"]


class Phase(enum.Enum):
    """What is done in one forward: nothing but checks; rounding while ranges are learned; or rounding."""

    FLOAT = enum.auto()
    LEARN = enum.auto()
    ROUND = enum.auto()


@dataclass(frozen=True)
class Schedule:
    """Epochs, from 0, at which quantisation-aware training changes.

    Attributes:
        start: The first that is rounded.
        freeze: The first that learns no ranges any more; ``None`` for none.

    Raises:
        UserError: If no range would ever be learned.
    """

    start: int = 0
    freeze: int | None = None

    def __post_init__(self) -> None:
        if type(self.start) is not int or self.start < 0:
            raise UserError(f"start_epoch must be 0 or more; got {self.start!r}")
        if self.freeze is not None and (type(self.freeze) is not int or self.freeze <= self.start):
            raise UserError(
                f"freeze_observers_epoch must be after start_epoch ({self.start}), or no range is learned; got "
                f"{self.freeze!r}"
            )

    def training(self, epoch: int, is_step: bool, has_ranges: bool) -> Phase:
        """What a forward in a training epoch is.

        Args:
            epoch: The epoch.
            is_step: Whether it is one of training mode and with gradients; others teach no ranges.
            has_ranges: Whether ranges were learned.

        Raises:
            UserError: If there are no ranges, and none will be learned.
        """
        if epoch < self.start:
            return Phase.FLOAT
        if self.freeze is None or epoch < self.freeze:
            return Phase.LEARN if is_step else self.evaluation(has_ranges)
        if not has_ranges:
            raise UserError(
                f"there are no ranges to round in, and none are learned from epoch {self.freeze} on: raise "
                "freeze_observers_epoch beyond the epochs that were trained in float"
            )
        return Phase.ROUND

    @staticmethod
    def evaluation(has_ranges: bool) -> Phase:
        """What any other forward is."""
        return Phase.ROUND if has_ranges else Phase.FLOAT
