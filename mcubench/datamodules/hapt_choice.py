"""A part of HAPT: one of its sensors, its six basic activities, other people to test on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from mcubench.datamodules.arrays import Arrays
from mcubench.errors import UserError

__all__ = ["Activities", "Choice", "Sensors"]

Sensors = Literal["both", "accelerometer", "gyroscope"]
Activities = Literal["all", "basic"]

_CHANNELS: dict[Sensors, slice] = {
    "both": slice(0, 6),
    "accelerometer": slice(0, 3),
    "gyroscope": slice(3, 6),
}
_QUANTITIES = {"accelerometer": "acceleration x, y, z in g", "gyroscope": "angular velocity x, y, z in rad/s"}
_BASIC = 6  # walking (three kinds), sitting, standing, laying; the transitions follow
_PEOPLE = range(1, 31)


@dataclass(frozen=True)
class Choice:
    """What is taken of the data set.

    Attributes:
        sensors: Whose channels.
        activities: Which classes.
        test_subjects: Whose windows are the test set; ``None`` for those of the authors' test set.

    Raises:
        UserError: If one of them is not there.
    """

    sensors: Sensors = "both"
    activities: Activities = "all"
    test_subjects: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name, kind in (("sensors", Sensors), ("activities", Activities)):
            if getattr(self, name) not in get_args(kind):
                raise UserError(f"{name} must be one of {', '.join(get_args(kind))}; got {getattr(self, name)!r}")
        if (people := self.test_subjects) is None:
            return
        if not 0 < len(people) < len(_PEOPLE) or len({*people} & {*_PEOPLE}) != len(people):
            raise UserError(
                f"test_subjects must be some of the people {_PEOPLE[0]} to {_PEOPLE[-1]}, each once, and leave others "
                f"to train on; got {list(people)}"
            )

    @property
    def channels(self) -> slice:
        """Of the six: those that are taken."""
        return _CHANNELS[self.sensors]

    @property
    def quantities(self) -> str:
        """What they are, in words."""
        return ", ".join(_QUANTITIES.values() if self.sensors == "both" else [_QUANTITIES[self.sensors]])

    def class_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Of all names: those of the classes that are taken."""
        return tuple(names if self.activities == "all" else names[:_BASIC])

    def windows(self, train: Arrays, test: Arrays) -> tuple[Arrays, Arrays]:
        """Raw windows that are taken, of the sensors that are."""
        parts = self.of(train, test)
        if self.sensors == "both":
            return parts
        first, second = (
            Arrays(np.ascontiguousarray(each.x[:, self.channels]), each.y, each.subjects) for each in parts
        )
        return first, second

    def of(self, train: Arrays, test: Arrays) -> tuple[Arrays, Arrays]:
        """The windows that are taken, as training and test set; all their channels."""
        if self.test_subjects is None and self.activities == "all":
            return train, test
        assert train.subjects is not None
        assert test.subjects is not None
        pairs = (train.x, test.x), (train.y, test.y), (train.subjects, test.subjects)
        x, y, subjects = map(np.concatenate, pairs)
        people = np.unique(test.subjects) if self.test_subjects is None else self.test_subjects
        tested, taken = np.isin(subjects, people), (y < _BASIC) | (self.activities == "all")
        rows = (np.flatnonzero(part & taken) for part in (~tested, tested))
        first, second = (Arrays(x, y, subjects).take(each) for each in rows)
        return first, second
