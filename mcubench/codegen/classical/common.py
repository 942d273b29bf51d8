"""What emitters of classical models share: what is read and written, types of sums, and how values become codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from mcubench.codegen.program import Step
from mcubench.codegen.text import float32

if TYPE_CHECKING:
    from mcubench.quant.integer.ir import IntegerTensor

__all__ = ["Squares", "centred", "coded", "pointers", "rounded", "source", "squares"]

_FEW = 1 << 15  # features whose squares of differences of 8 bits, which have 16, fit into 32 bits


def source(step: Step) -> IntegerTensor:
    """What a step reads, which is no constant."""
    return cast("IntegerTensor", step.x)


def pointers(step: Step, read: str = "") -> str:
    """Statements that read x as ``from`` and write y as ``to``, by the types of tensors; x by another one, if given."""
    lines = []
    for name, pointer, ctype in (("from", "x", f"const {read or source(step).ctype}"), ("to", "y", step.output.ctype)):
        lines.append(f"    {ctype} *const {name} = ({ctype} *){_untyped(ctype)}{pointer};")
    return "\n".join(lines)


def _untyped(ctype: str) -> str:
    return "(const void *)" if ctype.startswith("const") else "(void *)"


@dataclass(frozen=True)
class Squares:
    """Sums of squares of differences in C.

    Attributes:
        sum_type: Of a sum of them, or of as many products.
        difference_type: Of a difference.
        square: Its square.
        widened: What widens the first factor of a product, if the sum is wider than it.
    """

    sum_type: str
    difference_type: str
    square: str
    widened: str


def squares(step: Step) -> Squares:
    """Types that hold all sums over what a step reads."""
    x, square = source(step), "difference * difference"
    if x.real:
        return Squares("float", "float", square, "")
    wide = x.grid.bits == 16 or x.size >= _FEW
    widened = "(int64_t)" if wide else ""
    return Squares("int64_t" if wide else "int32_t", "int32_t", widened + square, widened)


def centred(step: Step, element: str) -> str:
    """An element on the grid of what a step reads, so that 0 stands for 0; a float as it is."""
    x = source(step)
    return element if x.real else f"({element} - {x.grid.zero_point})".replace("- -", "+ ")


def coded(step: Step, value: str) -> str:
    """C of the code of a value in float32; of float32 the value itself."""
    grid = step.output.grid
    return rounded(step, value if step.output.real else f"{value} * {float32(1 / grid.scale)} + {grid.zero_point}.0f")


def rounded(step: Step, steps: str) -> str:
    """C of the code next to a value in steps of the output, from code 0 on; of float32 the value itself."""
    if step.output.real:
        return steps
    low, high = (f"{end}.0f" for end in step.output.grid.ends)
    return f"({step.output.ctype})nearest({steps}, {low}, {high})"
