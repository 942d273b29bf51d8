"""Nested loops over the elements of tensors that are read and written in other orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Walk", "contiguous", "nest"]


@dataclass(frozen=True)
class Walk:
    """How a tensor is walked through.

    Attributes:
        name: Of the pointer to its first element.
        steps: For each axis of the loops the distance of neighbours, in elements; 0 where it does not change.
        start: The element that the first iteration is about.
    """

    name: str
    steps: tuple[int, ...]
    start: int = 0


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Distances of neighbours in a tensor whose last axis changes fastest."""
    steps = [1] * len(shape)
    for axis in reversed(range(len(shape) - 1)):
        steps[axis] = steps[axis + 1] * shape[axis + 1]
    return tuple(steps)


def nest(shape: Sequence[int], walks: Sequence[Walk], statement: str) -> str:
    """Loops over a shape, as few as can be.

    Args:
        shape: Lengths of the axes.
        walks: What is walked through; ``{0}`` in the statement is the element of the first, and so on.
        statement: What is done for each element, an expression.
    """
    lengths, steps = _merged(list(shape), [list(each.steps) for each in walks])
    names = [f"i{axis}" for axis in range(len(lengths))]
    elements = [f"{walk.name}[{_index(walk.start, found, names)}]" for walk, found in zip(walks, steps, strict=True)]
    lines = [f"    int32_t {', '.join(names)};"] if names else []
    for depth, (name, length) in enumerate(zip(names, lengths, strict=True)):
        lines.append(f"{'    ' * (depth + 1)}for ({name} = 0; {name} < {length}; {name}++)")
    lines.append(f"{'    ' * (len(names) + 1)}{statement.format(*elements)};")
    return "\n".join(lines) + "\n"


def _merged(lengths: list[int], steps: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Axes of length 1 left out, and neighbours joined that every walk goes through as if they were one."""
    kept = [axis for axis, length in enumerate(lengths) if length > 1]
    lengths, steps = [lengths[axis] for axis in kept], [[each[axis] for axis in kept] for each in steps]
    axis = 0
    while axis + 1 < len(lengths):
        if all(each[axis] == each[axis + 1] * lengths[axis + 1] for each in steps):
            lengths[axis : axis + 2] = [lengths[axis] * lengths[axis + 1]]
            for each in steps:
                del each[axis]
        else:
            axis += 1
    return lengths, steps


def _index(start: int, steps: Sequence[int], names: Sequence[str]) -> str:
    terms = [name if step == 1 else f"{step} * {name}" for name, step in zip(names, steps, strict=True) if step]
    if start or not terms:
        terms.append(str(start))
    return " + ".join(terms)
