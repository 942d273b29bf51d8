"""Signals of motion sensors, as they might also have been recorded: worn a little otherwise, moved a little otherwise.

Time and magnitude warping, rotation and jitter are those of Um et al., "Data augmentation of wearable sensor data for
Parkinson's disease monitoring using convolutional neural networks" (ICMI 2017, arXiv:1706.00527).
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

__all__ = ["random_rotations", "rotated", "signal_at", "smooth_curves", "warped_times"]

_SLOWEST = 0.1  # of the speed that was recorded: time must go on


def signal_at(x: Tensor, times: Tensor) -> Tensor:
    """Signals read at times between their samples, linearly.

    Args:
        x: Signals, shape (N, channels, samples), floats.
        times: In samples from 0, within the signal, shape (N, samples).

    Returns:
        Signals of the same shape.
    """
    before = times.long().clamp(0, x.shape[2] - 2)
    part = (times - before)[:, None]
    index = before[:, None].expand_as(x)
    return torch.lerp(x.gather(2, index), x.gather(2, index + 1), part)


def warped_times(speed: Tensor) -> Tensor:
    """When a signal is read that goes by at a changing speed, from its first sample to its last.

    Args:
        speed: Speeds relative to what was recorded, shape (N, samples); what is below a tenth counts as a tenth.

    Returns:
        Times in samples, growing from 0 to samples - 1, shape (N, samples).
    """
    steps = speed.clamp(min=_SLOWEST)
    steps = (steps[:, 1:] + steps[:, :-1]) / 2
    times = torch.nn.functional.pad(steps.cumsum(1), (1, 0))
    return times * ((speed.shape[1] - 1) / times[:, -1:])


def smooth_curves(values: Tensor, samples: int) -> Tensor:
    """Cubic splines through values at knots that are spread evenly over a signal.

    Args:
        values: Of each curve at its knots, shape (..., knots), at least 2 of them.
        samples: Length of the signal.

    Returns:
        The curves, shape (..., samples).
    """
    return values @ _spline(values.shape[-1], samples).to(values).T


def random_rotations(axes: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation matrices by Rodrigues' formula.

    Args:
        axes: Directions of any length but 0, shape (N, 3).
        angles: Radians, counterclockwise when the axis points at one, shape (N,).

    Returns:
        Matrices, shape (N, 3, 3).
    """
    x, y, z = (axes / np.linalg.norm(axes, axis=1, keepdims=True)).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)
    sine, versine = np.sin(angles)[:, None, None], (1 - np.cos(angles))[:, None, None]
    rotations: NDArray[np.float64] = np.eye(3) + sine * cross + versine * cross @ cross
    return rotations


def rotated(x: Tensor, rotations: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Signals of a device that was held otherwise: each of its three-axis sensors is turned alike.

    Gravity and ranges differ by axis, so that inputs are turned in the units of the sensor, before they were scaled.

    Args:
        x: Inputs, (samples of the sensor - mean) / std, shape (N, channels, samples); channels are x, y, z of one
            sensor after another.
        rotations: Matrices, shape (N, 3, 3).
        mean: Of each channel, shape (channels,).
        std: Likewise.

    Returns:
        Inputs of the same shape.
    """
    raw = x * std[:, None] + mean[:, None]
    turned = torch.einsum("nij,nsjt->nsit", rotations, raw.unflatten(1, (-1, 3))).flatten(1, 2)
    return (turned - mean[:, None]) / std[:, None]


@functools.cache
def _spline(knots: int, samples: int) -> Tensor:
    """The spline at each sample as a weighted sum of its values at the knots, shape (samples, knots)."""
    spline = CubicSpline(np.linspace(0, samples - 1, knots), np.eye(knots))
    return torch.from_numpy(spline(np.arange(samples)))
