"""Samples as they might also have been recorded: pure functions of whole batches, one draw a sample."""

from mcubench.augmentation.images import affine_positions, elastic_displacement, image_at
from mcubench.augmentation.signals import (
    random_rotations,
    rotated,
    signal_at,
    smooth_curves,
    warped_times,
)

__all__ = [
    "affine_positions",
    "elastic_displacement",
    "image_at",
    "random_rotations",
    "rotated",
    "signal_at",
    "smooth_curves",
    "warped_times",
]
