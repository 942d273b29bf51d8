"""The grids that values and weights are rounded to."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "ACTIVATION_MAX",
    "ACTIVATION_MIN",
    "FLOAT32",
    "WEIGHT_BITS",
    "Grid",
    "by_channel",
    "weight_codes",
    "weight_limit",
    "weight_scales",
]

ACTIVATION_MIN, ACTIVATION_MAX = -128, 127  # int8

WEIGHT_BITS = (2, 4, 8)

_FINEST_CELL, _COARSEST_CELL = -15, -9  # powers of 2

# Where the best clipping of a channel is looked for, as shares of its largest weight: of a normal distribution of some
# hundred weights it lies near 0.4 for three levels and near 0.8 for fifteen.
_CLIPPED_TO = {4: torch.linspace(0.5, 1, 26), 2: torch.linspace(0.1, 1, 46)}


@dataclass(frozen=True)
class Grid:
    """The values that an integer tensor can hold: ``scale * (code - zero_point)``.

    Attributes:
        scale: Distance of two values, a float32.
        zero_point: The code of 0.
        bits: Of a code, 8 or 16: int8 or int16; 32 where there are no codes, but the values themselves in float32.
    """

    scale: float
    zero_point: int
    bits: int = 8

    @property
    def dtype(self) -> torch.dtype:
        """Of codes."""
        return {8: torch.int8, 32: torch.float32}.get(self.bits, torch.int16)

    @property
    def ends(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1

    @classmethod
    def of_range(cls, minimum: float, maximum: float, bits: int = 8) -> Grid:
        """The grid that covers a range and 0, which padding needs exactly (TFLite's quantisation specification).

        Args:
            minimum: The smallest value.
            maximum: The largest value.
            bits: Levels are 2^bits, the lowest with code -2^(bits - 1).

        Raises:
            ValueError: If a bound is not finite.
        """
        if not (math.isfinite(minimum) and math.isfinite(maximum)):
            raise ValueError(f"a range must be finite; got {minimum} to {maximum}")
        low, high = min(minimum, 0.0), max(maximum, 0.0)
        if high - low < np.finfo(np.float32).tiny:
            high = 1.0  # nothing but zeros, which any grid holds
        steps = 2**bits - 1
        scale = float(np.float32((high - low) / steps))
        lowest = -(2 ** (bits - 1))
        zero_point = lowest + round(-low / scale)
        return cls(scale, min(max(zero_point, lowest), lowest + steps), bits)

    @classmethod
    def of_cells(cls, minimum: float, maximum: float) -> Grid:
        """The grid of an LSTM's cell that covers a range: 16 bits about 0, its scale a power of 2.

        TFLite Micro takes scales of 2^-9 at most; no cell needs more than the 64 that they reach to.
        """
        largest = max(abs(minimum), abs(maximum), float(np.finfo(np.float32).tiny))
        exponent = math.ceil(math.log2(largest / (2**15 - 1)))
        return cls(2.0 ** min(max(exponent, _FINEST_CELL), _COARSEST_CELL), 0, bits=16)

    def codes(self, x: Tensor) -> Tensor:
        """Nearest codes of values; values out of range get the nearest end."""
        if self.bits == 32:
            return x.float()
        codes = torch.round(x.double() / self.scale) + self.zero_point
        return codes.clamp(*self.ends).to(self.dtype)

    def values(self, codes: Tensor) -> Tensor:
        """What codes stand for, float32."""
        return ((codes.double() - self.zero_point) * self.scale).float()


FLOAT32 = Grid(1.0, 0, bits=32)


def weight_limit(bits: int) -> int:
    """The largest code of a symmetric weight: 127, 7 or, of ternary ones, 1."""
    return int(2 ** (bits - 1)) - 1


def weight_scales(weight: Tensor, bits: int, axis: int) -> Tensor:
    """The scale of each output channel of a weight.

    At 8 bits the largest weight has the largest code; with fewer, the scale is that of the least squared error. Either
    is in proportion to the channel, so that folding a batch norm into it changes no code.

    Args:
        weight: Float.
        bits: 2, 4 or 8.
        axis: That of the output channels.

    Returns:
        float32, shape (channels,), positive.
    """
    channels = weight.detach().movedim(axis, 0).flatten(1)
    largest = channels.abs().amax(1) if channels.shape[1] else channels.new_zeros(len(channels))
    limit = weight_limit(bits)
    if bits == 8:
        scales = largest / limit
    else:
        ratios = _CLIPPED_TO[bits].to(channels)
        candidates = largest[:, None] * ratios / limit  # (channels, candidates)
        safe = candidates.clamp_min(torch.finfo(torch.float32).tiny)[..., None]
        errors = ((channels[:, None] / safe).round_().clamp_(-limit, limit) * safe - channels[:, None]).square_().sum(2)
        scales = candidates.gather(1, errors.argmin(1, keepdim=True))[:, 0]
    positive = scales > torch.finfo(torch.float32).tiny
    other = scales[positive].min() if bool(positive.any()) else scales.new_ones(())  # of a channel of zeros: any
    return torch.where(positive, scales, other).float()


def by_channel(scales: Tensor, weight: Tensor, axis: int) -> Tensor:
    """Scales of a weight's output channels, in a shape that broadcasts over it."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    return scales.reshape(shape)


def weight_codes(weight: Tensor, scales: Tensor, bits: int, axis: int) -> Tensor:
    """Nearest codes of a weight, int8, of its shape."""
    limit = weight_limit(bits)
    return torch.round(weight.double() / by_channel(scales.double(), weight, axis)).clamp(-limit, limit).to(torch.int8)
