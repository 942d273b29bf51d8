"""Training on images as they might also have been taken."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mcubench.augmentation import affine_positions, elastic_displacement, image_at
from mcubench.callbacks.amounts import checked_amounts
from mcubench.callbacks.batches import BatchCallback
from mcubench.errors import UserError

__all__ = ["ImageAugmentation"]


class ImageAugmentation(BatchCallback):
    """Shifts, turns, magnifies, shears and bends the images of each training batch, each image by a draw of its own.

    It works with any module whose batches begin with images, shape (N, channels, height, width), and costs a device
    nothing. Draws are even between minus and plus what is given; what is not given stays as it is. Outside of an image,
    its edge goes on.

    Args:
        shift: Pixels, along each axis.
        rotate: Degrees.
        scale: Magnified by at most 1 + scale, and made smaller by at most as much.
        shear: Degrees.
        elastic: Standard deviation, in pixels, of smooth displacements along each axis.
        smoothness: How smooth these are: the standard deviation, in pixels, of the Gaussian that smooths them.
        seed: Seed of all draws; not set, it follows ``--seed_everything``.

    Raises:
        UserError: If an amount is out of range, all are 0, or batches have no images.
    """

    def __init__(
        self,
        shift: float = 0.0,
        rotate: float = 0.0,
        scale: float = 0.0,
        shear: float = 0.0,
        elastic: float = 0.0,
        smoothness: float = 4.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(seed)
        amounts = {"shift": shift, "rotate": rotate, "scale": scale, "shear": shear, "elastic": elastic}
        checked_amounts(self, amounts, most={"rotate": 180, "shear": 89})
        if not 0 < smoothness < math.inf:
            raise UserError(f"smoothness must be positive and finite, got {smoothness}")
        self.shift, self.rotate, self.scale, self.shear = shift, rotate, scale, shear
        self.elastic, self.smoothness = elastic, smoothness

    def changed(self, x: Tensor, y: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Images that are distorted, with their classes."""
        if x.ndim != 4:
            raise UserError(
                "ImageAugmentation is for batches of images, shape (N, channels, height, width); these are "
                f"{tuple(x.shape)}"
            )

        def drawn(most: float, *shape: int) -> Tensor:
            return torch.from_numpy(random.uniform(-most, most, (len(x), *shape))).to(x)

        height, width = x.shape[2:]
        positions = affine_positions(
            (height, width),
            shift=drawn(self.shift, 2),
            angle=drawn(math.radians(self.rotate)),
            scale=drawn(math.log1p(self.scale)).exp(),
            shear=drawn(math.radians(self.shear)),
        )
        if self.elastic:
            noise = torch.from_numpy(random.standard_normal((len(x), height, width, 2), np.float32)).to(x)
            positions += elastic_displacement(noise, self.elastic, self.smoothness)
        return image_at(x, positions), y
