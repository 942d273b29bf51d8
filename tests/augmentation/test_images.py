"""Distorted images against SciPy's and torchvision's, and against the statistics that were asked for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import affine

from mcubench.augmentation import affine_positions, elastic_displacement, image_at

SIZE = (11, 14)


def images(count: int = 4, channels: int = 2) -> torch.Tensor:
    return torch.randn(count, channels, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def positions(
    shift: tuple[float, float] = (0, 0), angle: float = 0, scale: float = 1, shear: float = 0, count: int = 1
):
    """The same for each of some images; angles in degrees."""
    each = [torch.full((count,), value, dtype=torch.float64) for value in (math.radians(angle), scale)]
    lean = torch.full((count,), math.radians(shear), dtype=torch.float64)
    return affine_positions(SIZE, torch.tensor([shift] * count, dtype=torch.float64), *each, lean)


def test_pixels_between_pixels_and_beyond_the_edge_are_those_of_scipy() -> None:
    x = images()
    where = torch.rand(4, *SIZE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 24 - 6
    ours = image_at(x, where)
    for image, places, got in zip(x, where, ours, strict=True):
        for channel, out in zip(image, got, strict=True):
            expected = ndimage.map_coordinates(
                channel.numpy(), places.permute(2, 0, 1).numpy(), order=1, mode="nearest"
            )
            np.testing.assert_allclose(out.numpy(), expected, atol=1e-12)


def test_images_of_one_row() -> None:
    x = torch.arange(5.0).view(1, 1, 1, 5)
    where = affine_positions((1, 5), torch.tensor([[3.0, 1.0]]), torch.zeros(1), torch.ones(1), torch.zeros(1))
    assert image_at(x, where).flatten().tolist() == [0, 0, 1, 2, 3]


@pytest.mark.parametrize(
    "options",
    [
        {"shift": (2, -3)},
        {"angle": 30.0},
        {"angle": -170.0},
        {"scale": 1.3},
        {"scale": 0.6},
        {"shear": 20.0},
        {"shift": (1, 2), "angle": 15.0, "scale": 1.2, "shear": -10.0},
    ],
)
def test_affine_images_are_those_of_torchvision(options: dict[str, float]) -> None:
    """Whose angles are clockwise, whose shift is (right, down), and which puts zeros outside: images have a margin."""
    x = images()
    x[..., :3, :] = x[..., -3:, :] = 0
    x[..., :4] = x[..., -4:] = 0
    down, right = options.get("shift", (0, 0))
    expected = affine(
        x,
        angle=-options.get("angle", 0),
        translate=[right, down],
        scale=options.get("scale", 1),
        shear=[options.get("shear", 0), 0],
        interpolation=InterpolationMode.BILINEAR,
    )
    torch.testing.assert_close(image_at(x, positions(**options, count=4)), expected, atol=1e-6, rtol=0)


def test_counterclockwise_is_what_one_sees() -> None:
    """A quarter turn takes what is right of the centre above it."""
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 2, 4] = 1
    where = affine_positions(
        (5, 5), *(torch.tensor(each, dtype=torch.float64) for each in ([[0, 0]], [math.pi / 2], [1], [0]))
    )
    assert image_at(x, where)[0, 0].argmax() == 2  # row 0, column 2


def test_shear_moves_what_is_above_to_the_right() -> None:
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 0, 1] = 1
    where = affine_positions(
        (5, 5), *(torch.tensor(each, dtype=torch.float64) for each in ([[0, 0]], [0], [1], [math.atan(0.5)]))
    )
    assert image_at(x, where)[0, 0].argmax() == 2  # two rows above the centre, moved by one


def test_elastic_displacements_have_the_deviation_and_the_smoothness_that_were_asked_for() -> None:
    """Noise that a Gaussian of deviation s has smoothed is correlated by exp(-d² / 4 s²) at a distance d."""
    smoothness, count = 3.0, 4000
    noise = torch.randn(count, 40, 40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    field = elastic_displacement(noise, 1.5, smoothness)
    assert torch.allclose(field.std(0), torch.full((40, 40, 2), 1.5, dtype=torch.float64), rtol=0.06)
    middle = field[:, 20, 20, 0]
    for distance in (2, 4, 6):
        expected = math.exp(-(distance**2) / (4 * smoothness**2))
        for other in (field[:, 20, 20 + distance, 0], field[:, 20 - distance, 20, 0]):
            correlation = torch.corrcoef(torch.stack([middle, other]))[0, 1]
            assert correlation == pytest.approx(expected, abs=4 / math.sqrt(count))
    assert abs(torch.corrcoef(torch.stack([middle, field[:, 20, 20, 1]]))[0, 1]) < 4 / math.sqrt(count)
