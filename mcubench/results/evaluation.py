"""Accuracy, macro-F1 and confusion matrix of any classifier on any data, in one pass each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["NotScorableError", "Scores", "score"]


class NotScorableError(Exception):
    """A module or its data do not have the form of a classifier; the message says what is missing."""


@dataclass(frozen=True)
class Scores:
    """How well one part of the data is classified.

    Attributes:
        accuracy: Share of samples that are right.
        macro_f1: Mean F1 of the classes that occur or were predicted.
        confusion: int64, shape (num_classes, num_classes), rows are the true classes.
    """

    accuracy: float
    macro_f1: float
    confusion: NDArray[np.int64]

    @property
    def samples(self) -> int:
        """Number of samples scored."""
        return int(self.confusion.sum())


@torch.inference_mode()
def score(
    module: nn.Module,
    batches: Iterable[Any],
    num_classes: int | None,
    device: torch.device,
    prepare: Callable[[Any], Any] = lambda batch: batch,
) -> Scores:
    """Scores a module in evaluation mode; its training mode is restored afterwards.

    Args:
        module: Maps x (N, ...) to logits or probabilities (N, num_classes).
        batches: Pairs (x, y), y the classes, int64, shape (N,).
        num_classes: Number of classes; ``None`` where nobody says it: as many as there are scores.
        device: Where to compute.
        prepare: What is done to each batch first, as the hooks of a data module ask for.

    Raises:
        NotScorableError: If batches or outputs have another form, or outputs are not finite.
    """
    from sklearn import metrics

    was_training = module.training
    module.eval().to(device)
    try:
        outcomes = [_outcome(module, batch, num_classes, device) for batch in map(prepare, batches)]
    finally:
        module.train(was_training)
    if not outcomes:
        raise NotScorableError("there are no batches")
    # scikit-learn here, torchmetrics in the training loop: two implementations that must agree.
    num_classes = num_classes or outcomes[0][2]
    outcome = [torch.cat(part).cpu().numpy() for part in list(zip(*outcomes, strict=True))[:2]]
    return Scores(
        accuracy=float(metrics.accuracy_score(*outcome)),
        macro_f1=float(metrics.f1_score(*outcome, average="macro")),
        confusion=metrics.confusion_matrix(*outcome, labels=range(num_classes)),
    )


def _outcome(
    module: nn.Module, batch: Any, num_classes: int | None, device: torch.device
) -> tuple[Tensor, Tensor, int]:
    """True and predicted classes of one batch, each of shape (N,), and the number of scores for each sample."""
    pair = isinstance(batch, (list, tuple)) and len(batch) == 2
    if not (pair and all(isinstance(part, Tensor) for part in batch)):
        raise NotScorableError("its batches are not pairs (x, y) of tensors")
    x, y = (part.to(device) for part in batch)
    if y.shape != (len(x),) or y.is_floating_point():
        raise NotScorableError(f"its targets are not classes of shape ({len(x)},), but {tuple(y.shape)} {y.dtype}")
    dtype = next((parameter.dtype for parameter in module.parameters()), torch.float32)
    output = module(x.to(dtype) if x.is_floating_point() else x)
    scores = output.shape[-1] if isinstance(output, Tensor) and output.ndim == 2 else 0
    if not isinstance(output, Tensor) or output.shape != (len(x), num_classes or scores):
        form = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise NotScorableError(f"forward gives {form} for {len(x)} samples, not ({len(x)}, {num_classes or 'classes'})")
    if output.shape[1] < 2 or (len(y) and not 0 <= int(y.min()) <= int(y.max()) < output.shape[1]):
        raise NotScorableError(
            f"forward gives {scores} scores for each sample, and its classes are {int(y.min())} to {int(y.max())}"
        )
    if not output.isfinite().all():
        raise NotScorableError("forward gives values that are not finite: the training has diverged")
    return y, output.argmax(-1), scores
