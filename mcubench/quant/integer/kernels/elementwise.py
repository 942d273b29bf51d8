"""Sums, differences and products of tensors, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mcubench.quant.fixed_point import multiplier_of, rescaled
from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import centred, clamped

__all__ = ["Add", "Multiply", "Subtract"]

_LEFT_SHIFT = 20  # room for digits behind the point, in add.cc and sub.cc


@dataclass(frozen=True, eq=False)
class Add(Kernel):
    """ADD: both are brought to twice the larger scale."""

    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the sum."""
        left, right = _aligned(node, inputs)
        return _shrunk(node, left + right, self.activation)


@dataclass(frozen=True, eq=False)
class Subtract(Kernel):
    """SUB."""

    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the difference."""
        left, right = _aligned(node, inputs)
        return _shrunk(node, left - right, self.activation)


@dataclass(frozen=True, eq=False)
class Multiply(Kernel):
    """MUL."""

    activation: str | None = None

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes of the product."""
        first, second, target = node.inputs[0].grid, node.inputs[1].grid, node.output.grid
        left, right = _same_rank(inputs)
        products = centred(left, first) * centred(right, second)
        factor = multiplier_of(first.scale * second.scale / target.scale)
        return clamped(rescaled(products, *factor) + target.zero_point, target, self.activation)


def _twice_the_larger(node: IntegerNode) -> float:
    return 2.0 * float(np.float32(max(each.grid.scale for each in node.inputs)))


def _same_rank(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Axes of size 1 behind the batch, so that samples broadcast as on a device, where the batch is 1."""
    rank = max(each.ndim for each in inputs)
    return [each.reshape(len(each), *(1,) * (rank - each.ndim), *each.shape[1:]) for each in inputs]


def _aligned(node: IntegerNode, inputs: Sequence[Tensor]) -> list[Tensor]:
    common = _twice_the_larger(node)
    return [
        rescaled(centred(each, operand.grid) << _LEFT_SHIFT, *multiplier_of(operand.grid.scale / common))
        for each, operand in zip(_same_rank(inputs), node.inputs, strict=True)
    ]


def _shrunk(node: IntegerNode, total: Tensor, activation: str | None) -> Tensor:
    target = node.output.grid
    factor = multiplier_of(_twice_the_larger(node) / ((1 << _LEFT_SHIFT) * target.scale))
    return clamped(rescaled(total, *factor) + target.zero_point, target, activation)
