"""What range a batch's values should be rounded in, and the range that comes of many batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["OBSERVERS", "Observer", "Range", "averaged", "batch_extremes", "batch_least_error"]

Range = tuple[float, float]
Observer = Literal["moving_average", "mse"]

_MOMENTUM = 0.01  # share of a batch in the range, as torch.ao's MovingAverageMinMaxObserver has it
_SAMPLED = 1 << 14  # values of a tensor that errors are computed of
_CLIPPED_TO = torch.linspace(0.3, 1.0, 36)  # candidates, as shares of the batch's extremes


def averaged(old: Range, new: Range, batches: int) -> Range:
    """The range after one batch more: the mean of the first hundred, then a moving average.

    A moving average alone would depend on the first batch, of untrained weights, for hundreds of batches.

    Args:
        old: After `batches` batches.
        new: Of the next one.
        batches: How many went into `old`.
    """
    share = max(1 / (batches + 1), _MOMENTUM)
    return old[0] + share * (new[0] - old[0]), old[1] + share * (new[1] - old[1])


def batch_extremes(x: Tensor, _bits: int) -> Tensor:
    """Smallest and largest value of a batch, shape (2,)."""
    return torch.stack(torch.aminmax(x.detach()))


def batch_least_error(x: Tensor, bits: int) -> Tensor:
    """The batch's extremes, both shortened alike so that rounding to `bits` has the least squared error, shape (2,).

    The error is that of at most 16,384 values, evenly spaced in the batch.
    """
    ends = batch_extremes(x, bits).float()
    values = x.detach().flatten()
    values = values[:: math.ceil(len(values) / _SAMPLED)].float()
    candidates = _CLIPPED_TO.to(values.device)[:, None] * torch.stack([ends[0].clamp_max(0), ends[1].clamp_min(0)])
    low, high = candidates[:, :1], candidates[:, 1:]
    scale = ((high - low) / (2**bits - 1)).clamp_min(torch.finfo(torch.float32).tiny)
    zero = (-low / scale).round()
    codes = (values / scale).round_().add_(zero).clamp_(0, 2**bits - 1)
    errors = codes.sub_(zero).mul_(scale).sub_(values).square_().sum(1)
    return candidates[errors.argmin()]


OBSERVERS: dict[Observer, Callable[[Tensor, int], Tensor]] = {
    "moving_average": batch_extremes,
    "mse": batch_least_error,
}
