"""Pooling over windows; codes keep their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from mcubench.quant.integer.ir import IntegerNode, Kernel
from mcubench.quant.integer.kernels.common import Pair, Pairs, clamped

__all__ = ["AveragePool", "MaxPool"]


@dataclass(frozen=True, eq=False)
class MaxPool(Kernel):
    """MAX_POOL_2D; what lies outside is not looked at."""

    window: Pair
    stride: Pair
    padding: Pairs

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, height, width, channels)."""
        padded = _padded(inputs[0].float(), self.padding, float("-inf"))
        return F.max_pool2d(padded, self.window, self.stride).permute(0, 2, 3, 1).to(torch.int8)


@dataclass(frozen=True, eq=False)
class AveragePool(Kernel):
    """AVERAGE_POOL_2D: the sum of what lies inside by its number, halves away from 0."""

    window: Pair
    stride: Pair
    padding: Pairs

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, height, width, channels)."""
        x, area = inputs[0], self.window[0] * self.window[1]
        kind = torch.float64  # exact for any window
        sums = F.avg_pool2d(_padded(x.to(kind), self.padding, 0), self.window, self.stride) * area
        ones = torch.ones(1, *x.shape[1:3], 1, dtype=kind)
        counts = (F.avg_pool2d(_padded(ones, self.padding, 0), self.window, self.stride) * area).round().long()
        whole = sums.round().long()
        halves = torch.where(whole > 0, counts // 2, -(counts // 2))
        means = torch.div(whole + halves, counts, rounding_mode="trunc")
        return clamped(means, node.output.grid).permute(0, 2, 3, 1)


def _padded(x: Tensor, padding: Pairs, value: float) -> Tensor:
    """Channels first, with padding."""
    (top, bottom), (left, right) = padding
    return F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom), value=value)
