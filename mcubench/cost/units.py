"""Sizes as people write them: ``32 KiB``, ``1 M``."""

from __future__ import annotations

import re
from fractions import Fraction

from mcubench.errors import UserError

__all__ = ["bytes_text", "parse_bytes", "parse_count"]

_BYTES = {"": 1, "b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_COUNTS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_FORM = re.compile(r"\s*([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(size: int | str, name: str = "size") -> int:
    """Bytes of a size such as 32768, ``"32 KiB"`` or ``"0.5MB"``.

    Args:
        size: A number of bytes, or a number with a unit: B, KiB, MiB, GiB (of 1024) or kB, MB, GB (of 1000).
        name: What it is called in an error.

    Raises:
        UserError: If it is something else, not positive, or not whole bytes.
    """
    return _parse(size, name, _BYTES, "bytes, with a unit or without: 32768, 32 KiB, 0.5 MB")


def parse_count(count: int | str, name: str = "count") -> int:
    """A count such as 1000000, ``"1 M"`` or ``"250k"`` (k, M and G of 1000).

    Raises:
        UserError: As `parse_bytes` does.
    """
    return _parse(count, name, _COUNTS, "a number, with a unit or without: 1000000, 1 M, 250 k")


def _parse(value: int | str, name: str, units: dict[str, int], allowed: str) -> int:
    wrong = UserError(f"{name} must be {allowed}; got {value!r}")
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise wrong
    match = _FORM.fullmatch(str(value))
    if match is None or match[2].lower() not in units:
        raise wrong
    number = (
        Fraction(match[1].replace(",", "").replace("_", "")) * units[match[2].lower()]
    )  # exact, as 1.001 kB is 1001 bytes
    if number <= 0 or number.denominator != 1:
        raise wrong
    return number.numerator


def bytes_text(size: int) -> str:
    """A size for people: bytes below 10 KiB, else KiB or MiB with three digits or more."""
    if size < 10 * 1024:
        return f"{size:,} B"
    unit, factor = ("KiB", 1024) if size < 10 * 1024**2 else ("MiB", 1024**2)
    number = size / factor
    return f"{number:,.0f} {unit}" if number >= 999.95 else f"{number:.1f} {unit}"
