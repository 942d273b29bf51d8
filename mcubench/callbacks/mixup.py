"""Training on mixtures of two samples."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from mcubench.callbacks.batches import BatchCallback
from mcubench.errors import UserError

__all__ = ["Mixup"]


class Mixup(BatchCallback):
    """Trains any classifier on mixtures of two samples: Zhang et al., "mixup" (arXiv:1710.09412).

    A mixture is a share s of one sample and 1 - s of another of the batch, s drawn for each from Beta(alpha, alpha).
    The paper weighs the losses of both classes by the same shares. Here the class is drawn, the one's with probability
    s, which has the same loss and the same gradient in the mean, and suits every loss of classes that a module may
    have. Training accuracy is that on mixtures.

    Args:
        alpha: How much is mixed: near 0 hardly ever, at 1 all shares alike. 0.2 is usual for images.
        seed: Seed of all draws; not set, it follows ``--seed_everything``.

    Raises:
        UserError: If alpha is not positive and finite, or targets are no classes.
    """

    def __init__(self, alpha: float = 0.2, seed: int | None = None) -> None:
        super().__init__(seed)
        if not 0 < alpha < math.inf:
            raise UserError(f"alpha must be positive and finite, got {alpha}")
        self.alpha = alpha

    def changed(self, x: Tensor, y: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Mixtures, and the class of one of their two parts."""
        if y.is_floating_point() or y.ndim != 1:
            raise UserError(f"Mixup needs one class a sample; got targets of {y.dtype}, shape {tuple(y.shape)}")
        share = random.beta(self.alpha, self.alpha, len(x))
        first = torch.from_numpy(random.random(len(x)) < share).to(y.device)
        other = torch.from_numpy(random.permutation(len(x))).to(x.device)
        shares = torch.from_numpy(share).to(x).view(-1, *[1] * (x.ndim - 1))
        return torch.lerp(x[other], x, shares), torch.where(first, y, y[other])
