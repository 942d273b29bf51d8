"""Sizes as people write them. References: the prefixes of IEC 80000-13 (Ki, Mi, Gi) and of SI (k, M, G)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcubench.cost import bytes_text, parse_bytes, parse_count
from mcubench.errors import UserError

IEC = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SI = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
COUNTS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
SPACES = st.sampled_from(["", " ", "  "])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (32768, 32768),
        ("32768", 32768),
        ("32768 B", 32768),
        ("32 KiB", 32 * 1024),
        ("32KiB", 32 * 1024),
        ("32 kB", 32 * 1000),
        ("32 KB ", 32 * 1000),  # a capital K makes no difference: only the i does
        ("  1 MiB", 1_048_576),
        ("1 MB", 1_000_000),
        ("0.5 MB", 500_000),
        ("0.5MiB", 524_288),
        ("1.5 KiB", 1536),
        ("2 GiB", 2_147_483_648),
        ("2 GB", 2_000_000_000),
        ("1,048,576", 1_048_576),
        ("1_000_000 b", 1_000_000),
        ("32 kib", 32 * 1024),
    ],
)
def test_bytes(text: int | str, size: int) -> None:
    assert parse_bytes(text) == size
    assert type(parse_bytes(text)) is int


@pytest.mark.parametrize(
    ("text", "count"),
    [(7, 7), ("1000000", 1_000_000), ("1 M", 1_000_000), ("250k", 250_000), ("2.5 m", 2_500_000), ("1 G", 10**9)],
)
def test_counts(text: int | str, count: int) -> None:
    assert parse_count(text) == count


@given(number=st.integers(1, 2**20), unit=st.sampled_from([*IEC, *SI, "B", ""]), space=SPACES, around=SPACES)
def test_whole_bytes_round_trip(number: int, unit: str, space: str, around: str) -> None:
    size = number * {**IEC, **SI, "B": 1, "": 1}[unit]
    for written in (unit, unit.lower(), unit.upper()):
        assert parse_bytes(f"{around}{number}{space}{written}{around}") == size
        assert parse_bytes(f"{number:,}{space}{written}") == size
    assert parse_bytes(size) == parse_bytes(str(size)) == size


@given(number=st.integers(1, 2**20), unit=st.sampled_from([*COUNTS]), space=SPACES)
def test_counts_round_trip(number: int, unit: str, space: str) -> None:
    assert parse_count(f"{number}{space}{unit}") == number * COUNTS[unit]


@given(quarters=st.integers(1, 2**20), unit=st.sampled_from([*IEC, *SI]))
def test_quarters_round_trip(quarters: int, unit: str) -> None:
    # A quarter of any of these units is whole, and is exact as a float.
    assert parse_bytes(f"{Decimal(quarters) / 4} {unit}") == quarters * {**IEC, **SI}[unit] // 4


@given(size=st.integers(1001, 1019))
def test_decimal_fractions_round_trip(size: int) -> None:
    assert parse_bytes(f"{Decimal(size) / 1000} kB") == size


def test_a_decimal_comma_is_not_dropped() -> None:
    with pytest.raises(UserError):
        parse_bytes("1,5 KiB")


def test_large_numbers_are_exact() -> None:
    assert parse_count(2**53 + 1) == 2**53 + 1


def test_enormous_numbers_are_exact_too() -> None:
    assert parse_count(10**400) == 10**400


REJECTED = [
    *(0, -1, "0", "-5", "-1 KiB", "0 KiB", "0.0 MB"),  # not positive
    *("", "  ", "KiB", "big", "1 2", "1e3", "0x10", ".5 MB", "5. B", "+5", "inf", "nan", "1.2.3"),  # no number
    *("1.5", "1.5 B", "0.0001 kB", "0.3 KiB"),  # not whole
    *("32 K i B", "32 TiB", "32 bytes", "32 bit", "32 KiBs", "32 %"),  # no unit
    *(True, False, None, 32.0, 1.5, b"32", [32]),  # not a number of bytes or a text
    "٣٢",  # digits, but not ASCII's
]


@pytest.mark.parametrize("value", REJECTED, ids=repr)
def test_what_is_no_size(value: Any) -> None:
    with pytest.raises(UserError) as caught:
        parse_bytes(value, "flash")
    assert str(caught.value) == (f"flash must be bytes, with a unit or without: 32768, 32 KiB, 0.5 MB; got {value!r}")


@pytest.mark.parametrize("value", [*REJECTED, "32 KiB", "32 kB", "1 B"], ids=repr)
def test_what_is_no_count(value: Any) -> None:
    with pytest.raises(UserError) as caught:
        parse_count(value, "macs")
    assert str(caught.value) == (f"macs must be a number, with a unit or without: 1000000, 1 M, 250 k; got {value!r}")


@pytest.mark.parametrize("value", ["32 k", "32 M", "32 G"])
def test_a_size_needs_its_b(value: str) -> None:
    # "32 k" would be 32,000 to some and 32,768 to others.
    with pytest.raises(UserError, match="32 KiB"):
        parse_bytes(value)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1024, "1,024 B"),
        (9_999, "9,999 B"),
        (10_240, "10.0 KiB"),
        (63_590, "62.1 KiB"),  # 62.099...
        (131_072, "128.0 KiB"),
        (1_024_000, "1,000 KiB"),
        (2_097_152, "2,048 KiB"),
        (10_485_759, "10,240 KiB"),
        (10_485_760, "10.0 MiB"),
        (1_000_000_000, "953.7 MiB"),  # 953.67...
        (2**31, "2,048 MiB"),
    ],
)
def test_text(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize("size", [10_000, 1_023_960])
def test_text_has_three_digits_or_more_and_no_false_ones(size: int) -> None:
    digits = bytes_text(size).split()[0].replace(",", "")
    assert len(digits.replace(".", "")) >= 3
    assert len(digits) <= 5


@given(size=st.integers(1, 2**34))
def test_text_reads_back_to_about_the_same(size: int) -> None:
    # Half a unit of the last digit: 0.05 of what is printed with one decimal, 0.5 of 1,000 and more.
    text = bytes_text(size)
    if text.endswith(" B"):
        assert parse_bytes(text) == size
    else:
        number, unit = text.replace(",", "").split()
        assert abs(Decimal(number) * IEC[unit] - size) <= Decimal("0.05" if "." in number else "0.5") * IEC[unit]
