"""Where tensors and working memory of a program lie in the memory that its caller lends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mcubench.codegen.program import Program
from mcubench.codegen.unit import Function

if TYPE_CHECKING:
    from mcubench.quant.integer.ir import Operand

__all__ = ["ALIGNMENT", "Arena", "plan"]

ALIGNMENT = 4  # bytes: words are the widest that is loaded from it


@dataclass(frozen=True)
class Arena:
    """A plan of memory.

    Attributes:
        offsets: Where each tensor starts that lies in it, in bytes.
        scratch: Where the working memory of each step starts.
        size: Bytes in all.
    """

    offsets: Mapping[Operand, int]
    scratch: Sequence[int]
    size: int


@dataclass(frozen=True, eq=False)
class _Block:
    """Memory that is needed from one step to another.

    Attributes:
        size: Bytes.
        first: The step that writes it.
        last: The last that reads it.
        before: The block that it may lie over if it begins so many bytes before it.
    """

    size: int
    first: int
    last: int
    before: tuple[_Block, int] | None = None

    def forbidden(self, other: _Block, at: int) -> tuple[int, int] | None:
        """The offsets, ends excluded, that it can't have while another one lies at an offset."""
        if self.last < other.first or other.last < self.first:
            return None
        low, high = at - self.size, at + other.size
        if self.before is not None and self.before[0] is other:
            low = max(low, at - self.before[1])
        if other.before is not None and other.before[0] is self:
            high = min(high, at + other.before[1])
        return low, high


def plan(program: Program, functions: Sequence[Function]) -> Arena:
    """Places what a program needs beside its inputs and outputs, which are the caller's.

    An output lies over an input that nobody reads any more where its function writes behind what it reads. Blocks are
    placed one after the other, each where the whole grows least; the best of several orders is taken.

    Args:
        program: The program.
        functions: What computes each step.
    """
    outside = {program.bases[each] for each in (*program.inputs, *program.outputs)}
    read = [[program.bases[each] for each in step.inputs if each in program.bases] for step in program.steps]
    last: dict[Operand, int] = {each: number for number, bases in enumerate(read) for each in bases}
    tensors: dict[Operand, _Block] = {}
    working: dict[int, _Block] = {}
    for number, (step, function) in enumerate(zip(program.steps, functions, strict=True)):
        if function.scratch:
            working[number] = _Block(function.scratch, number, number)
        if step.output not in outside:
            x = program.bases.get(step.x)
            over = tensors.get(x) if x is not None and function.lead is not None else None
            free = over is not None and over.last == number and read[number].count(x) == 1  # type: ignore[arg-type]
            before = (over, function.lead) if free else None
            end = last.get(step.output, number)
            tensors[step.output] = _Block(step.output.bytes, number, end, before)  # type: ignore[arg-type]
    blocks = [*tensors.values(), *working.values()]
    orders = (
        blocks,
        blocks[::-1],
        sorted(blocks, key=lambda block: block.first),
        sorted(blocks, key=lambda block: -block.last),
        sorted(blocks, key=lambda block: -block.size),
    )
    places = min(map(_placed, orders), key=_extent)
    start = min(places.values(), default=0)
    return Arena(
        {tensor: places[block] - start for tensor, block in tensors.items()},
        [places[working[number]] - start if number in working else 0 for number in range(len(functions))],
        _extent(places),
    )


def _placed(order: Iterable[_Block]) -> dict[_Block, int]:
    """Offsets of blocks, each where the whole grows least."""
    places: dict[_Block, int] = {}
    for block in order:
        taken = [found for other, at in places.items() if (found := block.forbidden(other, at)) is not None]
        candidates = {0, *(_down(low) for low, _ in taken), *(_up(high) for _, high in taken)}
        free = [at for at in candidates if not any(low < at < high for low, high in taken)]
        places[block] = min(free, key=lambda at: (_extent({**places, block: at}), at))
    return places


def _extent(places: Mapping[_Block, int]) -> int:
    """Bytes from the first to the last, in whole words."""
    if not places:
        return 0
    return _up(max(at + block.size for block, at in places.items())) - min(places.values())


def _down(offset: int) -> int:
    return offset // ALIGNMENT * ALIGNMENT


def _up(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
