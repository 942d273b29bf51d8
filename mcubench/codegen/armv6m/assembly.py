"""Functions in Thumb assembly, with a twin in C for other cores."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["Assembly", "function"]

_LONGEST = 3500  # characters of a string literal: C99 promises 4095

_SYNTAX = '".syntax unified\\n"'
_FUNCTION = """{comment}
#if defined(__ARM_ARCH_6M__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter" /* they are in registers */
__attribute__((naked, noinline)) static {signature}
{{
{assembly}}}
#pragma GCC diagnostic pop
#else
APART {signature}
{{
{twin}}}
#endif
"""


class Assembly:
    """Instructions, some to a line.

    Labels are numbers; `label` hands them out, `place` says where one is, and `to` writes a jump to it.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._labels = 0
        self._placed: set[int] = set()

    def do(self, *instructions: str, why: str = "") -> None:
        """Appends instructions that belong together, and what they are for."""
        self._lines.append(f'"    {"; ".join(instructions)}\\n"' + (f" /* {why} */" if why else ""))

    def label(self) -> int:
        """A new label."""
        self._labels += 1
        return self._labels

    def place(self, label: int) -> None:
        """Puts a label here."""
        self._placed.add(label)
        self._lines.append(f'"{label}:\\n"')

    def to(self, jump: str, label: int) -> str:
        """A jump to a label, such as ``b`` or ``bne``."""
        return f"{jump} {label}{'b' if label in self._placed else 'f'}"

    def text(self) -> str:
        """Statements of C, none of which is longer than compilers promise to take."""
        statements: list[list[str]] = []
        length = _LONGEST
        for line in self._lines:
            if length + len(line) > _LONGEST:
                statements.append([_SYNTAX])
                length = len(_SYNTAX)
            statements[-1].append(line)
            length += len(line)
        return "".join(_statement(each) for each in statements)


def _statement(lines: Iterable[str]) -> str:
    return "    __asm__ volatile(\n" + "\n".join(f"        {line}" for line in lines) + "\n    );\n"


def function(signature: str, comment: str, assembly: Assembly, twin: str) -> str:
    """The definition of a function that does the same in assembly and in C.

    Args:
        signature: Its type, its name and its parameters; the assembly finds them where the calling convention says.
        comment: What it does, and which registers hold what.
        assembly: Its instructions, from the first push to the last pop.
        twin: Its statements in C.
    """
    return _FUNCTION.format(signature=signature, comment=comment, assembly=assembly.text(), twin=twin)
