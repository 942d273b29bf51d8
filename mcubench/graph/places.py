"""Where the elements along an axis come from, if one is padded or resized."""

from __future__ import annotations

import torch
from torch.nn import functional as F  # noqa: N812 - its usual name

__all__ = ["nearest_places", "padded_places"]


def padded_places(mode: str, size: int, before: int, after: int) -> list[int]:
    """Where along an axis of a size the elements of a padded one come from; `mode` is not ``constant``."""
    places = torch.arange(-before, size + after)
    if mode == "reflect" and size > 1:  # there and back, without the edges twice
        places = ((places + size - 1) % (2 * size - 2) - (size - 1)).abs()
    found: list[int] = (places % size if mode == "circular" else places.clamp(0, size - 1)).tolist()
    return found


def nearest_places(mode: str, size: int, out: int, scale: float | None = None) -> list[int]:
    """Where along an axis of a size the elements of a resized one come from, by ``nearest`` or ``nearest-exact``."""
    places = torch.arange(size, dtype=torch.float32).reshape(1, 1, size)  # exact below 2^24
    given = {"size": out} if scale is None else {"scale_factor": scale, "recompute_scale_factor": False}
    found: list[int] = F.interpolate(places, mode=mode, **given).flatten().long().tolist()
    return found
