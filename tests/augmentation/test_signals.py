"""Changed signals against numpy, SciPy, and what the change means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from mcubench.augmentation import random_rotations, rotated, signal_at, smooth_curves, warped_times


def signals(count: int = 5, channels: int = 6, samples: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, channels, samples, generator=generator, dtype=torch.float64)


def test_samples_between_samples_are_those_of_numpy() -> None:
    x = signals()
    times = torch.rand(5, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 49
    times[:, :2] = torch.tensor([0.0, 49.0])
    ours = signal_at(x, times)
    for signal, when, got in zip(x, times, ours, strict=True):
        expected = [np.interp(when.numpy(), np.arange(50), channel.numpy()) for channel in signal]
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-12)


def test_curves_are_scipys_splines() -> None:
    values = torch.randn(3, 2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    curves = smooth_curves(values, 60)
    expected = CubicSpline(np.linspace(0, 59, 5), values.numpy(), axis=2)(np.arange(60))
    np.testing.assert_allclose(curves.numpy(), expected, atol=1e-12)


def test_time_goes_on_from_the_first_to_the_last_sample() -> None:
    """By the trapezoidal rule; what would stand still or run backwards goes slowly."""
    speed = torch.tensor([[1.0, 3.0, 1.0, -5.0, 1.0], [2.0, 2.0, 2.0, 2.0, 2.0]], dtype=torch.float64)
    times = warped_times(speed)
    expected = np.array([0, 2, 4, 4.55, 5.1]) * 4 / 5.1
    np.testing.assert_allclose(times[0].numpy(), expected)
    np.testing.assert_allclose(times[1].numpy(), np.arange(5))
    assert (times.diff() > 0).all()


def test_rotations_are_scipys() -> None:
    random = np.random.default_rng(0)
    axes, angles = random.standard_normal((20, 3)), random.uniform(-3, 3, 20)
    directions = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(directions * angles[:, None]).as_matrix()
    np.testing.assert_allclose(random_rotations(axes, angles), expected, atol=1e-12)


def test_sensors_are_turned_in_their_own_units() -> None:
    """Scaled inputs, turned, are what one gets who turns the sensor first and scales then."""
    raw = signals()
    mean, std = torch.linspace(-2, 3, 6, dtype=torch.float64), torch.linspace(0.2, 4, 6, dtype=torch.float64)
    rotations = torch.from_numpy(Rotation.random(5, rng=0).as_matrix())
    expected = np.empty(raw.shape)
    for index, (signal, rotation) in enumerate(zip(raw.numpy(), rotations.numpy(), strict=True)):
        for sensor in (slice(0, 3), slice(3, 6)):
            expected[index, sensor] = Rotation.from_matrix(rotation).apply(signal[sensor].T).T
    scaled = (raw - mean[:, None]) / std[:, None]
    ours = rotated(scaled, rotations, mean, std) * std[:, None] + mean[:, None]
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-12)
    lengths = torch.linalg.vector_norm(raw.unflatten(1, (2, 3)), dim=2)
    again = torch.linalg.vector_norm(ours.unflatten(1, (2, 3)), dim=2)
    torch.testing.assert_close(again, lengths)


def test_a_mistake_in_the_scaling_would_be_seen() -> None:
    raw = signals()
    rotations = torch.from_numpy(Rotation.random(5, rng=0).as_matrix())
    std = torch.linspace(0.2, 4, 6, dtype=torch.float64)
    turned_as_scaled = rotated(raw / std[:, None], rotations, torch.zeros(6).double(), torch.ones(6).double())
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            torch.linalg.vector_norm((turned_as_scaled * std[:, None]).unflatten(1, (2, 3)), dim=2),
            torch.linalg.vector_norm(raw.unflatten(1, (2, 3)), dim=2),
        )
