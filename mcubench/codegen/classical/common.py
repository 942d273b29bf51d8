"""What emitters of classical models share: pointers of the types of what is read and written, and numbers of floats."""

from __future__ import annotations

from typing import Any

from mcubench.codegen.program import Step
from mcubench.codegen.text import hex_float

__all__ = ["float_literal", "pointers", "rounded"]


def pointers(step: Step, source: str = "") -> str:
    """Statements that read x as ``from`` and write y as ``to``, by the types of tensors; x by another one, if given."""
    lines = []
    read = source or step.x.ctype  # type: ignore[union-attr]
    for name, pointer, ctype in (("from", "x", f"const {read}"), ("to", "y", step.output.ctype)):
        lines.append(f"    {ctype} *const {name} = ({ctype} *){_untyped(ctype)}{pointer};")
    return "\n".join(lines)


def _untyped(ctype: str) -> str:
    return "(const void *)" if ctype.startswith("const") else "(void *)"


def float_literal(number: Any) -> str:
    """A float32 in C."""
    return hex_float(float(number), "f")


def rounded(step: Step, value: str) -> str:
    """C of the code next to a value in steps of the output; of float32 the value itself."""
    if step.output.real:
        return value
    low, high = (f"{end}.0f" for end in step.output.grid.ends)
    return f"({step.output.ctype})nearest({value}, {low}, {high})"
