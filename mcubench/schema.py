"""What data that is read back must look like: checks of plain values, put together to those of whole files.

A check takes a value and what it is called, and raises `FaultError` if the value can't be that.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = [
    "MOST",
    "Check",
    "FaultError",
    "count",
    "listed",
    "mapping",
    "matching",
    "nullable",
    "number",
    "plain",
    "record",
    "share",
    "text",
    "whole",
]

Check = Callable[[Any, str], None]

_DEEPEST = 20  # levels of lists and objects in one another; what goes through them by recursion must come to an end

# What counts and seconds may be: up to here whole numbers are exact in double precision, which others read JSON in.
MOST = 2**53


class FaultError(ValueError):
    """A value can't be what it is called; the text names it, and says what it must be."""


def text(value: Any, name: str) -> None:
    """Takes text."""
    _demand(isinstance(value, str), value, name, "text")


def matching(pattern: str, wanted: str) -> Check:
    """A text of some form.

    Args:
        pattern: A regular expression that it must match as a whole.
        wanted: The form in words.
    """
    form = re.compile(pattern)

    def check(value: Any, name: str) -> None:
        text(value, name)
        _demand(form.fullmatch(value) is not None, value, name, wanted)

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A check that takes finite numbers in a range."""
    bounds = "" if math.isinf(low) and math.isinf(high) else f" from {low} to {high}"

    def check(value: Any, name: str) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = is_number and low <= value <= high and -math.inf < value < math.inf
        _demand(fits, value, name, f"a finite number{bounds}")

    return check


def whole(low: int, high: int) -> Check:
    """A check that takes whole numbers in a range."""

    def check(value: Any, name: str) -> None:
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        _demand(fits, value, name, f"a whole number from {low} to {high}")

    return check


count = whole(0, MOST)
share = number(0, 1)


def nullable(check: Check) -> Check:
    """A check that takes null, too."""

    def check_unless_null(value: Any, name: str) -> None:
        if value is not None:
            check(value, name)

    return check_unless_null


def record(fields: Mapping[str, Check], later: Mapping[str, Check] | None = None) -> Check:
    """A check of an object by its fields; it may have others.

    Args:
        fields: What each must be.
        later: The same of fields that may be missing, as from files of older versions.
    """

    def check(value: Any, name: str) -> None:
        _demand(isinstance(value, dict), value, name, "an object")
        for field, of_field in fields.items():
            if field not in value:
                raise FaultError(f"{_place(name, field)} is missing")
            of_field(value[field], _place(name, field))
        for field, of_field in (later or {}).items():
            if field in value:
                of_field(value[field], _place(name, field))

    return check


def mapping(check: Check) -> Check:
    """A check of an object whose fields are all alike, whatever they are called."""

    def check_all(value: Any, name: str) -> None:
        _demand(isinstance(value, dict) and all(isinstance(key, str) for key in value), value, name, "an object")
        for key, each in value.items():
            check(each, _place(name, key))

    return check_all


def listed(check: Check, length: int | None = None) -> Check:
    """A check of a list whose elements are all alike; of so many elements, if their number is given."""

    def check_all(value: Any, name: str) -> None:
        size = "" if length is None else f" of {length}"
        _demand(isinstance(value, list) and length in (None, len(value)), value, name, f"a list{size}")
        for index, each in enumerate(value):
            check(each, f"{name}[{index}]")

    return check_all


def plain(value: Any, name: str) -> None:
    """Takes text, finite numbers, true, false, null, and lists and objects of these, as options of classes are."""
    _check_plain(value, name, _DEEPEST)


def _check_plain(value: Any, name: str, levels: int) -> None:
    if isinstance(value, (dict, list)):
        if not levels:
            raise FaultError(f"{name[:80]} is nested deeper than {_DEEPEST} levels")
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(each, _place(name, str(key)), levels - 1)
    elif isinstance(value, float):
        number()(value, name)


def _place(name: str, field: str) -> str:
    return f"{name}.{field}" if name else field


def _demand(fits: bool, value: Any, name: str, wanted: str) -> None:
    if not fits:
        raise FaultError(f"{name or 'all of it'} is {_told(value)}, and must be {wanted}")


def _told(value: Any) -> str:
    """A value as JSON has it, if that is short."""
    return "null" if value is None else reprlib.repr(value)
