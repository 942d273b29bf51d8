"""Operations that move elements."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.graph.ir import Op, Operand, Weight
from mcubench.graph.ops.common import Pairs, Sizes

__all__ = ["Concat", "Expand", "Pad", "Permute", "Repeat", "Reshape", "Resize", "Select", "Slice", "Take"]


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Operands one after another along an axis."""

    axis: int
    operands: tuple[Operand, ...]


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements in the same order; needs no work."""

    shape: Sizes


@dataclass(frozen=True, eq=False)
class Permute(Op):
    """Axes in another order: output axis i is input axis ``axes[i]``."""

    axes: Sizes


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Elements start, start + step, ... before stop along an axis."""

    axis: int
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, eq=False)
class Select(Op):
    """One element along an axis, which vanishes."""

    axis: int
    index: int


@dataclass(frozen=True, eq=False)
class Take(Op):
    """Elements along an axis by constant indices."""

    axis: int
    indices: Weight


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """(before, after) elements more along each axis; mode as in ``torch.nn.functional.pad``."""

    padding: Pairs
    mode: str = "constant"
    value: float = 0.0


@dataclass(frozen=True, eq=False)
class Expand(Op):
    """Axes of size 1 repeated to a shape."""

    shape: Sizes


@dataclass(frozen=True, eq=False)
class Repeat(Op):
    """The whole tensor repeated along each axis."""

    repeats: Sizes


@dataclass(frozen=True, eq=False)
class Resize(Op):
    """Spatial axes interpolated to a size; mode as in ``torch.nn.functional.interpolate``."""

    mode: str
    size: Sizes
    align_corners: bool | None = None
    scales: tuple[float, ...] | None = None
