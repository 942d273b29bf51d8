"""Checks of values that are read back, each against values that it takes and values that it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mcubench.schema import (
    MOST,
    Check,
    FaultError,
    count,
    listed,
    mapping,
    nullable,
    number,
    plain,
    record,
    share,
    text,
)

PAIR = record({"a": count}, later={"b": text})


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (text, ""),
        (count, 0),
        (count, MOST),
        (share, 1),
        (share, 0.5),
        (number(), -1e300),
        (nullable(count), None),
        (PAIR, {"a": 1}),
        (PAIR, {"a": 1, "b": "x", "more": object()}),
        (mapping(share), {}),
        (listed(share, 2), [0, 1]),
        (plain, {"a": [1, None, "x", True, {"b": 0.5}]}),
    ],
)
def test_taken(check: Check, value: Any) -> None:
    check(value, "it")


@pytest.mark.parametrize(
    ("check", "value", "message"),
    [
        (text, 1, "it is 1, and must be text"),
        (count, -1, f"it is -1, and must be a whole number from 0 to {MOST}"),
        (count, MOST + 1, f"it is {MOST + 1}, and must be"),
        (count, 10**400, "it is 10+[.][.][.]0+, and must be"),
        (count, 1.0, "it is 1.0, and must be a whole number"),
        (count, True, "it is True, and must be"),
        (share, 17, "it is 17, and must be a finite number from 0 to 1"),
        (share, -0.1, "it is -0.1, and"),
        (share, math.nan, "it is nan, and"),
        (share, "0.5", "it is '0.5', and"),
        (share, None, "it is null, and"),
        (number(), math.inf, "it is inf, and must be a finite number$"),
        (PAIR, [], r"it is \[\], and must be an object"),
        (PAIR, {}, "it.a is missing"),
        (PAIR, {"a": -1}, "it.a is -1"),
        (PAIR, {"a": 1, "b": 2}, "it.b is 2, and must be text"),
        (mapping(share), {"x": 2}, "it.x is 2"),
        (mapping(share), {1: 1}, "must be an object"),
        (listed(share), {"a": 1}, "must be a list"),
        (listed(share), [0, 1, 2], r"it\[2\] is 2"),
        (listed(share, 2), [0], r"it is \[0\], and must be a list of 2"),
        (plain, {"a": [{"b": math.inf}]}, "it.a.0.b is inf, and must be a finite number"),
    ],
)
def test_refused(check: Check, value: Any, message: str) -> None:
    with pytest.raises(FaultError, match=message):
        check(value, "it")


def test_what_is_in_itself_comes_to_an_end() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(FaultError, match="is nested deeper than 20 levels"):
        plain(endless, "it")
