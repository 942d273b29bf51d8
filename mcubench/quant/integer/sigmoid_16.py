"""Sigmoid and hyperbolic tangent in 16 bits, as TFLite Micro's LOGISTIC, TANH and LSTM compute them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["SIGMOID_16", "sigmoid_16", "tanh_16"]

# Sigmoid at steps of 1/24, in 16 bits. The table of TFLite is larger by 1 than the rounded function at these places,
# as its int16 LOGISTIC shows.
_ONE_MORE = (
    *(4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46),
    *(49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255),
)
SIGMOID_16 = torch.tensor([round(65536 / (1 + math.exp(-i / 24))) + (i in _ONE_MORE) for i in range(256)])


def sigmoid_16(x: Tensor) -> Tensor:
    """Sigmoid of 12 bits behind the point, with 15, by a line between two entries of the table (``Logistic``)."""
    scaled = 3 * x
    place, between = scaled.abs() >> 9, scaled.abs() & 511
    low, high = SIGMOID_16[place.clamp_max(254)], SIGMOID_16[(place + 1).clamp_max(255)]
    result = torch.where(place >= 255, 0x7FFF << 10, (low << 9) + between * (high - low))
    return torch.where(scaled >= 0, result + (1 << 9), (1 << 25) - result + (1 << 9) - 1) >> 10


def tanh_16(x: Tensor, shift: int) -> Tensor:
    """Hyperbolic tangent of x * 2^shift, that with 12 bits behind the point; the result has 15 (``Tanh``)."""
    scaled = (3 * x) << shift if shift >= 0 else (3 * x + (1 << (-shift - 1))) >> -shift
    place, between = scaled.abs() >> 8, scaled.abs() & 255
    low, high = SIGMOID_16[place.clamp_max(254)], SIGMOID_16[(place + 1).clamp_max(255)]
    result = torch.where(place >= 255, 0xFFFF << 8, (low << 8) + between * (high - low))
    half, nudge = 1 << 23, 1 << 7
    return torch.where(scaled >= 0, result - half + nudge, -result + half + nudge - 1) >> 8
