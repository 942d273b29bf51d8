"""Images seen from elsewhere: each pixel of the result is looked up at a position of its own in the original.

Positions are (row, column) in pixels, from 0 at the centre of the first pixel, shape (N, height, width, 2), so that
several distortions are added up first, and the image is sampled, and blurred by it, only once.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

__all__ = ["affine_positions", "elastic_displacement", "image_at"]


def image_at(x: Tensor, positions: Tensor) -> Tensor:
    """Images read at positions between their pixels, bilinearly; outside, the nearest pixel of the edge goes on.

    Args:
        x: Images, shape (N, channels, height, width), floats.
        positions: (row, column) for each pixel of the result, shape (N, height, width, 2).

    Returns:
        Images of the same shape.
    """
    height, width = x.shape[2:]
    last = torch.tensor([width - 1, height - 1], dtype=x.dtype, device=x.device).clamp(min=1)
    # grid_sample wants (x, y), with -1 and 1 at the centres of the first and the last pixel
    grid = 2 * positions.flip(-1) / last - 1
    return nn.functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=True)


def affine_positions(size: tuple[int, int], shift: Tensor, angle: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Where to look so that images are sheared, magnified and turned about their centre, then shifted.

    Args:
        size: Height and width.
        shift: Down and to the right, in pixels, shape (N, 2).
        angle: Counterclockwise as one sees it, in radians, shape (N,).
        scale: Magnification, shape (N,).
        shear: Rows move to the right by its tangent times their height over the centre, in radians, shape (N,).

    Returns:
        Positions, shape (N, height, width, 2).
    """
    height, width = size
    sine, cosine, slope = angle.sin(), angle.cos(), shear.tan()
    # In (row, column), rows counted downwards: what the image's points do. The lookup is its inverse.
    turn = torch.stack([cosine, -sine, sine, cosine], -1).view(-1, 2, 2)
    lean = torch.eye(2, dtype=shift.dtype, device=shift.device).repeat(len(shift), 1, 1)
    lean[:, 1, 0] = -slope
    inverse = torch.linalg.inv(scale[:, None, None] * turn @ lean)
    centre = torch.tensor([height - 1, width - 1], dtype=shift.dtype, device=shift.device) / 2
    points = _pixels(size, shift) - centre - shift[:, None, None]
    return torch.einsum("nij,nhwj->nhwi", inverse, points) + centre


def elastic_displacement(noise: Tensor, amplitude: float, smoothness: float) -> Tensor:
    """Smooth random displacements, as of a drawing on rubber.

    Each direction's field is noise smoothed by a Gaussian, as in Simard, Steinkraus and Platt, "Best practices for
    convolutional neural networks applied to visual document analysis" (ICDAR 2003), here in units that do not depend
    on the smoothness: every pixel's displacement has the same standard deviation.

    Args:
        noise: Independent numbers of mean 0 and variance 1, shape (N, height, width, 2).
        amplitude: Standard deviation of the displacement in each direction, in pixels.
        smoothness: Standard deviation of the Gaussian, in pixels.

    Returns:
        Displacements (down, to the right), in pixels, shape (N, height, width, 2).
    """
    rows, columns = (_smoothing(each, smoothness).to(noise) for each in noise.shape[1:3])
    return amplitude * torch.einsum("ri,cj,nijd->nrcd", rows, columns, noise)


def _pixels(size: tuple[int, int], like: Tensor) -> Tensor:
    """(row, column) of each pixel, shape (height, width, 2)."""
    rows, columns = (torch.arange(each, dtype=like.dtype, device=like.device) for each in size)
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1)


@functools.cache
def _smoothing(size: int, deviation: float) -> Tensor:
    """A matrix that smooths independent numbers, and leaves each of them with variance 1."""
    places = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-((places[:, None] - places) ** 2) / (2 * deviation**2))
    return weights / weights.square().sum(1, keepdim=True).sqrt()
