"""C as text: templates, literals, arrays, comments, identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["array", "comment", "fill", "float32", "hex_float", "identifier", "numbers", "string"]

_WIDTH = 110  # of lines of numbers


def fill(template: str, **values: object) -> str:
    """A template with its ``$names`` filled in; C has no such sign itself.

    Raises:
        KeyError: If a name has no value.
    """
    return Template(template.strip("\n") + "\n").substitute({name: str(value) for name, value in values.items()})


def identifier(stem: str) -> str:
    """A file's name as the beginning of names in C."""
    name = re.sub(r"\W", "_", stem, flags=re.ASCII)
    return f"m_{name}" if not name or name[0].isdigit() else name


def comment(text: str) -> str:
    """A comment of one line."""
    return f"/* {text.replace('*/', '* /')} */"


def string(text: str) -> str:
    """A string literal; all but plain characters in octal, which ends after three digits."""
    plain = "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode()
    )
    return f'"{plain}"'


def hex_float(number: float, suffix: str = "") -> str:
    """A floating-point literal that is the number itself."""
    return f"{number.hex()}{suffix}"


def float32(number: Any) -> str:
    """A literal of the nearest float32."""
    return hex_float(float(np.float32(number)), "f")


def array(name: str, ctype: str, values: NDArray[Any]) -> str:
    """The definition of a constant array; one of no elements has a zero, as C has no empty ones."""
    stored = values if values.size else np.zeros(1, values.dtype)
    return f"static const {ctype} {name}[{stored.size}] = {{\n{numbers(stored, ctype)}\n}};\n"


def numbers(values: NDArray[Any], ctype: str) -> str:
    """Numbers in lines: words and floats in hexadecimal, which is exact."""
    literal = _LITERALS.get(ctype, _literal)
    return "\n".join(_lines([literal(each) for each in values.ravel().tolist()]))


def _literal(number: int) -> str:
    # There are no negative literals in C: -2147483648 is the negation of a number that has a wider type.
    return "(-2147483647 - 1)" if number == np.iinfo(np.int32).min else str(number)


_LITERALS: Mapping[str, Callable[[Any], str]] = {
    "uint32_t": lambda number: f"0x{number:08x}u",
    "int64_t": lambda number: f"{number}LL",
    "float": float32,
}


def _lines(words: Sequence[str]) -> Iterable[str]:
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            yield line
            line = "   "
        line += f" {word},"
    yield line
