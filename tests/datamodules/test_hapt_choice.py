"""Parts of HAPT: by hand on made windows, and on the real ones against counts of the published labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcubench.datamodules import HAPT
from mcubench.datamodules.arrays import Arrays
from mcubench.datamodules.hapt_choice import Choice
from mcubench.errors import UserError


def made() -> tuple[Arrays, Arrays]:
    """Windows that are their own number, of people 1 and 3, and 2 and 4."""
    train = Arrays(np.arange(4.0)[:, None, None], np.array([0, 5, 6, 11]), np.array([1, 3, 1, 3]))
    test = Arrays(np.arange(4.0, 8)[:, None, None], np.array([5, 7, 1, 2]), np.array([2, 2, 4, 4]))
    return train, test


def numbers(parts: tuple[Arrays, Arrays]) -> list[list[int]]:
    return [part.x.ravel().astype(int).tolist() for part in parts]


@pytest.mark.parametrize(
    ("choice", "train", "test"),
    [
        (Choice(), [0, 1, 2, 3], [4, 5, 6, 7]),
        (Choice(activities="basic"), [0, 1], [4, 6, 7]),
        (Choice(test_subjects=[1, 4]), [1, 3, 4, 5], [0, 2, 6, 7]),
        (Choice(activities="basic", test_subjects=[1, 4]), [1, 4], [0, 6, 7]),
    ],
)
def test_who_and_what_is_taken(choice: Choice, train: list[int], test: list[int]) -> None:
    parts = choice.of(*made())
    assert numbers(parts) == [train, test]
    for part in parts:
        assert part.subjects is not None
        assert [made_of(int(number)) for number in part.x.ravel()] == list(zip(part.y, part.subjects, strict=True))


def made_of(number: int) -> tuple[int, int]:
    part = made()[number // 4]
    assert part.subjects is not None
    return int(part.y[number % 4]), int(part.subjects[number % 4])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sensors", "channels", "units"),
    [
        ("accelerometer", slice(0, 3), "50 Hz; acceleration x, y, z in g"),
        ("gyroscope", slice(3, 6), "50 Hz; angular velocity x, y, z in rad/s"),
    ],
)
def test_one_sensor_of_the_real_windows(real_data: Path, sensors: Any, channels: slice, units: str) -> None:
    whole, part = HAPT(root=str(real_data)), HAPT(root=str(real_data), sensors=sensors)
    assert (part.input_shape, part.units) == ((3, 128), units)
    for name in ("train", "val", "test"):
        assert np.array_equal(part.arrays(name)[0], whole.arrays(name)[0][:, channels])


@pytest.mark.slow
def test_basic_activities_of_other_people(real_data: Path) -> None:
    """As fastgrnn-har splits them: it has 3,399 test windows (its README). 10,411 windows are of the six activities, as
    ``labels.txt`` has them, counted by hand."""
    data = HAPT(root=str(real_data), activities="basic", sensors="accelerometer", test_subjects=[*range(22, 31)])
    sizes = {part: len(data.arrays(part)[1]) for part in ("train", "val", "test")}  # type: ignore[arg-type]
    assert (sizes["test"], sum(sizes.values())) == (3399, 10411)
    assert data.num_classes == len(data.class_names) == 6
    assert set(np.unique(data.subjects("test"))) == {*range(22, 31)}
    assert {*np.unique(data.subjects("train")), *np.unique(data.subjects("val"))} == {*range(1, 22)}
    assert set(np.unique(data.arrays("test")[1])) == {*range(6)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sensors": "acc"}, "sensors must be one of both, accelerometer, gyroscope; got 'acc'"),
        ({"activities": "six"}, "activities must be one of all, basic; got 'six'"),
        ({"test_subjects": []}, r"some of the people 1 to 30, each once, and leave others to train on; got \[\]"),
        ({"test_subjects": [0, 1]}, r"got \[0, 1\]"),
        ({"test_subjects": [2, 2]}, r"got \[2, 2\]"),
        ({"test_subjects": [*range(1, 31)]}, "leave others to train on"),
        ({"inputs": "features", "sensors": "gyroscope"}, "sensors is for --data.inputs raw"),
        ({"inputs": "features", "scaling": "published", "activities": "basic"}, "leave test_subjects and activities"),
    ],
)
def test_what_is_not_there(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HAPT(**options)
