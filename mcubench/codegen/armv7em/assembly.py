"""Functions in assembly as text, each beside the same in C."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mcubench.codegen.text import fill
from mcubench.codegen.unit import Unit

__all__ = ["SAVED", "add", "function", "listed", "number", "repeated", "unrolled"]

_LITERAL = 2500  # characters of a literal, before those of what is repeated next
SAVED = 36  # bytes that `push {r4-r11, lr}` takes

_FUNCTION = """
$comment
#if DSP_ASSEMBLY
NAKED $result $name($parameters)
{
$lines
}
#else
APART $result $name($parameters)
{
$twin
}
#endif
"""


def function(
    unit: Unit, hint: str, parameters: str, comment: str, lines: Iterable[str], twin: str, result: str = "void"
) -> str:
    """Writes a function, once however many ask for it, and returns its name.

    Args:
        unit: Where it is written.
        hint: What its name begins with.
        parameters: In C; the first four come in r0 to r3.
        comment: What it does, and which registers it does it with.
        lines: Its instructions and labels. Lines are not numbered: labels are `1:`, referred to as `1b` or `1f`.
        twin: Its body in C, of the same effect to the byte.
        result: Type of what it returns.
    """
    unit.use("dsp")
    text = "\n".join(_statement(each) for each in _parts([".syntax unified", *lines]))
    return unit.function(
        fill(
            _FUNCTION,
            name="$name",
            comment=f"/* {comment} */",
            parameters=parameters,
            lines=text,
            twin=twin.strip("\n"),
            result=result,
        ),
        hint,
    )


def _parts(lines: Iterable[str]) -> Iterable[list[str]]:
    """Lines in parts that are short enough for a literal in C99; repeated ones stay together."""
    part: list[str] = []
    open_ = False
    for line in lines:
        if not open_ and sum(len(each) + 2 for each in part) > _LITERAL:
            yield part
            part = []
        part.append(line)
        open_ = line != ".endr" and (open_ or line.startswith(".rept"))
    yield part


def _statement(lines: Iterable[str]) -> str:
    inner = "\n".join(f'        "{line}\\n"' for line in lines)
    return f"    __asm__ volatile(\n{inner});"


def repeated(count: int, lines: Sequence[str]) -> list[str]:
    """Lines so many times, one after the other."""
    return [*lines] * count if count < 2 else [f".rept {count}", *lines, ".endr"]


def listed(registers: Sequence[str]) -> str:
    """Registers as operands of a load or store of several."""
    return "{" + ", ".join(registers) + "}"


def number(register: str, value: int) -> list[str]:
    """A constant in a register."""
    value &= 0xFFFFFFFF
    lines = [f"movw {register}, #{value & 0xFFFF}"]
    return lines if value < 1 << 16 else [*lines, f"movt {register}, #{value >> 16}"]


def add(register: str, value: int, spare: str) -> list[str]:
    """Adds a constant to a register.

    Args:
        register: The register.
        value: The constant.
        spare: Another register, which a large constant is put into.
    """
    if value == 0:
        return []
    name = "add" if value > 0 else "sub"
    if abs(value) < 1 << 12:
        return [f"{name}w {register}, {register}, #{abs(value)}"]
    return [*number(spare, abs(value)), f"{name} {register}, {register}, {spare}"]


def unrolled(count: int, most: int) -> int:
    """The largest divisor of a count that is not above a bound."""
    return next(each for each in range(min(count, most), 0, -1) if count % each == 0)
