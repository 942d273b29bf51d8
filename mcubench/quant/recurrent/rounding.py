"""Rounding of values in place: to the levels of a grid, and to the 16 bits that gates and states have."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mcubench.quant.grid import Grid

__all__ = ["GATE_SCALE", "SHARE_SCALE", "Levels", "Rounding", "in_16_bits", "in_full_precision", "steps_of"]

GATE_SCALE, SHARE_SCALE = 2.0**-12, 2.0**-15  # GATE and SHARE of the kernels
_LOW, _HIGH = -(2**15), 2**15 - 1


@dataclass(frozen=True)
class Levels:
    """What values are rounded to.

    Attributes:
        grid: Scale and zero point.
        low: The smallest code.
        high: The largest.
    """

    grid: Grid
    low: int
    high: int

    def rounded_to(self, x: Tensor, out: Tensor) -> Tensor:
        """Writes nearest levels; no gradients."""
        zero, scale = self.grid.zero_point, self.grid.scale
        return torch.mul(x, 1 / scale, out=out).round_().clamp_(self.low - zero, self.high - zero).mul_(scale)

    def rounded(self, x: Tensor) -> Tensor:
        """Nearest levels."""
        return torch.fake_quantize_per_tensor_affine(x, self.grid.scale, self.grid.zero_point, self.low, self.high)

    def holds(self, x: Tensor) -> Tensor:
        """1 where a value is within the levels, else 0."""
        scale, zero = self.grid.scale, self.grid.zero_point
        return ((x >= (self.low - zero - 0.5) * scale) & (x <= (self.high - zero + 0.5) * scale)).to(x.dtype)


def in_16_bits(x: Tensor, scale: float, rounds: bool = True) -> Tensor:
    """Rounds to 16 bits, with gradients; nothing if it is not to round."""
    return torch.fake_quantize_per_tensor_affine(x, scale, 0, _LOW, _HIGH) if rounds else x


class Rounding:
    """What happens to values of 16 bits, in place; nothing in a layer in float.

    Rounding is an addition and a subtraction: beside so large a number there is no room for smaller parts. What comes
    of a sigmoid or a hyperbolic tangent is not cut off, as all but 1 itself is in range.
    """

    def __init__(self, rounds: bool, dtype: torch.dtype) -> None:
        self.rounds = rounds
        self.step = 1.5 / torch.finfo(dtype).eps

    def to(self, x: Tensor, scale: float) -> Tensor:
        """Rounds to multiples of a power of 2."""
        return x.add_(self.step * scale).sub_(self.step * scale) if self.rounds else x

    def cut(self, x: Tensor, scale: float) -> Tensor:
        """Saturates."""
        return x.clamp_(_LOW * scale, _HIGH * scale) if self.rounds else x


def in_full_precision(backward: Callable[..., Any]) -> Callable[..., Any]:
    """A backward of autograd that computes in the precision of what was saved, and of which nobody sees each call."""

    @functools.wraps(backward)
    def wrapped(ctx: Any, wanted: Tensor, *others: Any) -> Any:
        with torch.autocast(wanted.device.type, enabled=False), torch._C.DisableTorchFunction():
            return backward(ctx, wanted.to(ctx.saved_tensors[0].dtype), *others)

    return wrapped


def steps_of(x: Tensor, units: int) -> list[tuple[Tensor, ...]]:
    """For each gate its values step by step: views, made at once."""
    return [each.unbind() for each in x.split(units, -1)]
