"""Images in another size; codes keep their grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mcubench.quant.integer.ir import IntegerNode, Kernel

__all__ = ["FRACTION", "ResizeBilinear", "interpolation"]

FRACTION = 10  # bits behind the point of a place in the input


@dataclass(frozen=True, eq=False)
class ResizeBilinear(Kernel):
    """RESIZE_BILINEAR (``ResizeBilinearInteger``)."""

    align_corners: bool

    def run(self, node: IntegerNode, inputs: Sequence[Tensor]) -> Tensor:
        """Codes (N, height, width, channels): sums of four neighbours, halves away from 0."""
        x = inputs[0].long()
        (_, height, width, _), (_, down, across, _) = node.inputs[0].shape, node.output.shape
        above, below, vertical = interpolation(height, down, self.align_corners)
        left, right, horizontal = interpolation(width, across, self.align_corners)
        one, y, z = 1 << FRACTION, vertical[:, None, None], horizontal[:, None]
        top, bottom = x[:, above], x[:, below]
        total = (top[:, :, left] * (one - z) + top[:, :, right] * z) * (one - y)
        total = total + (bottom[:, :, left] * (one - z) + bottom[:, :, right] * z) * y
        half = torch.where(total > 0, 1, -1) << (2 * FRACTION - 1)
        return torch.div(total + half, 1 << (2 * FRACTION), rounding_mode="trunc").to(torch.int8)


def interpolation(size: int, out: int, align_corners: bool) -> tuple[Tensor, Tensor, Tensor]:
    """For each place along an axis the two that it lies between, and the weight of the second in 2^-10.

    Centres of pixels are matched, or with `align_corners` those at the ends. The weights may be below 0 at the ends,
    where both places are the same (``ComputeInterpolationValuesInteger``).
    """
    one = 1 << FRACTION
    places = torch.arange(out)
    if align_corners:
        step = (one * (size - 1) + (out - 1) // 2) // (out - 1) if out > 1 else (one * size + out // 2) // out
        scaled = places * step
    else:
        step = (one * size + out // 2) // out
        scaled = places * step + step // 2 - one // 2
    lower = torch.div(scaled, one, rounding_mode="trunc").clamp_min(0)
    upper = torch.div(scaled + one - 1, one, rounding_mode="trunc").clamp_max(size - 1)
    return lower, upper, scaled - one * lower
