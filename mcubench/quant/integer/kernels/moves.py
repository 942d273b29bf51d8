"""Kernels that move codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.quant.integer.ir import IntegerNode, Kernel

__all__ = ["Concatenate", "Gather", "Pad", "Reshape", "StridedSlice", "Transpose"]


@dataclass(frozen=True, eq=False)
class Concatenate(Kernel):
    """CONCATENATION along an axis; all have one grid."""

    MOST: ClassVar[int] = 10  # parts that TFLite Micro takes

    axis: int

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes, one part after the other."""
        count = max(map(len, inputs))
        return torch.cat([part.expand(count, *part.shape[1:]) for part in inputs], self.axis)


@dataclass(frozen=True, eq=False)
class Pad(Kernel):
    """PAD with codes of 0, or PADV2 with another code: (before, after) for each axis, the batch included."""

    padding: tuple[tuple[int, int], ...]
    code: int | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes with those around."""
        around = [amount for pair in reversed(self.padding) for amount in pair]
        return F.pad(inputs[0], around, value=node.output.grid.zero_point if self.code is None else self.code)


@dataclass(frozen=True, eq=False)
class Gather(Kernel):
    """GATHER along an axis, the batch counted: of each of these places the codes there."""

    axis: int
    places: tuple[int, ...]

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes, some more than once."""
        return inputs[0].index_select(self.axis, torch.tensor(self.places))


@dataclass(frozen=True, eq=False)
class Reshape(Kernel):
    """RESHAPE; the order of codes stays."""

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """The same codes."""
        return inputs[0].reshape(len(inputs[0]), *node.output.shape[1:])


@dataclass(frozen=True, eq=False)
class Transpose(Kernel):
    """TRANSPOSE: output axis i is input axis ``axes[i]``, the batch included."""

    axes: tuple[int, ...]

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes in another order."""
        return inputs[0].permute(self.axes)


@dataclass(frozen=True, eq=False)
class StridedSlice(Kernel):
    """STRIDED_SLICE along one axis, the batch counted."""

    axis: int
    start: int
    stop: int
    step: int = 1

    def is_last_of(self, axis: int, size: int) -> bool:
        """Whether it takes the last element alone of an axis of a size."""
        return (self.axis, self.start, self.stop) == (axis, size - 1, size)

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Some of the codes."""
        (x,) = inputs
        chosen = x[(slice(None),) * self.axis + (slice(self.start, self.stop, self.step),)]
        return chosen.reshape(len(x), *node.output.shape[1:])
