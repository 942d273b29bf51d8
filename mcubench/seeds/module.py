"""The LightningModule that trains several seeds: one optimiser step is a step of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.func import vmap

from mcubench.models import Classifier
from mcubench.models.scored import EpochOutcomes
from mcubench.seeds.stack import Stack

__all__ = ["OUTCOMES", "StackedClassifiers", "prefix_of"]

OUTCOMES = "mcubench.seeds.outcomes"


def prefix_of(seed: int) -> str:
    """What the names of a seed's metrics begin with."""
    return f"seed-{seed}/"


class StackedClassifiers(EpochOutcomes):
    """Classifiers that differ by their seed, trained as one.

    The loss is the sum of their losses, so that each one's gradient is its own. Each seed's ``train/`` and ``val/``
    ``loss``, ``accuracy`` and ``macro_f1`` are logged once an epoch, as `ScoredModule` logs them, below `prefix_of` the
    seed.

    Args:
        models: The classifiers, as their own runs make them.
        seeds: The seed of each.

    Attributes:
        first: The first of them, which lends its forward, its loss and its options.
        stack: The parameters of all.
    """

    channels_last = False  # there is no stack of convolutions

    def __init__(self, models: Sequence[Classifier], seeds: Sequence[int]) -> None:
        super().__init__()
        self.first = models[0]
        self.stack = Stack(models)
        self.seeds = tuple(seeds)

    @property
    def steps_per_execution(self) -> int | None:
        """What the first one asks for."""
        return self.first.steps_per_execution

    def setup(self, stage: str) -> None:
        """Has the first one take what it takes from the data."""
        self.first.setup(stage)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (seeds, B, classes) of x (seeds, B, *input_shape)."""
        logits: Tensor = self.stack(x)
        return logits

    def batch_loss(self, x: Tensor, target: Tensor) -> Tensor:
        """The sum of all seeds' losses, for `Threads`."""
        return self._losses(self(x), target).sum()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The sum of all seeds' losses, each on its own batch."""
        x, target = batch
        return self._note(self(x), target).sum()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects the outcomes of one batch, the same for all seeds."""
        x, target = batch
        self._note(self.stack(x, shared=True), target)

    def _note(self, logits: Tensor, target: Tensor) -> Tensor:
        """Keeps summed losses (seeds,), logits (seeds, B, classes), targets (seeds, B) or (B,); gives the losses."""
        losses = self._losses(logits, target)
        self._outcomes.append((losses.detach() * target.shape[-1], logits.detach(), target))
        return losses

    def _losses(self, logits: Tensor, target: Tensor) -> Tensor:
        """Each seed's loss, shape (seeds,), of logits (seeds, B, classes) and classes (seeds, B), or (B,) for all."""
        target = target.expand(logits.shape[:2])
        if type(self.first).loss is not Classifier.loss:
            own: Tensor = vmap(self.first.loss)(logits, target)
            return own
        # What `Classifier.loss` computes, without vmap; weighted, the mean is over the weights.
        weight, smoothing = self.first.loss_weight, self.first.smoothing
        losses = nn.functional.cross_entropy(logits.mT, target, weight, reduction="none", label_smoothing=smoothing)
        return losses.sum(1) / (target.shape[1] if weight is None else weight[target].sum(1))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and schedule of the classifiers, which treat each number by itself."""
        return self.first.optimizers_of(list(self.stack.weights))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the outcomes of an epoch under way, to be cut up among the seeds."""
        if self._outcomes:
            checkpoint[OUTCOMES] = self._joined()

    def _joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """The outcomes so far: losses (batches, seeds), predicted and true classes (seeds, N)."""
        losses, logits, target = zip(*self._outcomes, strict=True)
        predicted = torch.cat(logits, 1).argmax(-1)
        return torch.stack(losses), predicted, torch.cat(target, -1).expand_as(predicted)

    def _log_epoch(self, stage: str) -> None:
        losses, predicted, target = self._joined()
        self._outcomes.clear()
        metrics = {
            "loss": losses.sum(0) / target.shape[1],
            **scores(predicted, target, self.first.num_classes),
        }
        for index, seed in enumerate(self.seeds):
            self.log_dict({f"{prefix_of(seed)}{stage}/{name}": values[index] for name, values in metrics.items()})
        if stage == "val":
            self.log("val/accuracy", metrics["accuracy"].mean(), prog_bar=True, logger=False)


def scores(predicted: Tensor, target: Tensor, num_classes: int) -> dict[str, Tensor]:
    """Accuracy and macro-F1 of several classifiers, as torchmetrics has them: float32, shape (seeds,).

    Args:
        predicted: Classes, int64, shape (seeds, N).
        target: The true classes, of the same shape.
        num_classes: Number of classes; those that neither occur nor are predicted do not count in macro-F1.
    """
    models, samples = predicted.shape
    offsets = num_classes**2 * torch.arange(models, device=predicted.device)[:, None]
    cells = (offsets + num_classes * target + predicted).reshape(-1)
    confusion = torch.bincount(cells, minlength=models * num_classes**2).view(models, num_classes, num_classes)
    right = confusion.diagonal(dim1=1, dim2=2)
    occurring = confusion.sum(1) + confusion.sum(2)  # twice the right ones, and all others once
    f1 = torch.where(occurring > 0, 2 * right / occurring.clamp(min=1), 0.0)
    return {"accuracy": right.sum(1) / samples, "macro_f1": f1.sum(1) / (occurring > 0).sum(1)}
