"""What every classifier logs: loss, accuracy and macro-F1, once an epoch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from mcubench.datamodules.inspection import problem_of_labels
from mcubench.errors import UserError
from mcubench.models.agreement import check_agreement, check_others_data
from mcubench.training.ranges import out_of_range

__all__ = ["ClassWeights", "EpochOutcomes", "ScoredModule", "save_outcomes"]

ClassWeights = Literal["balanced"] | list[float] | None

_OUTCOMES = "mcubench.training_outcomes"
_SMALL = torch.int16  # of classes in checkpoints, which should stay as small as the models


class EpochOutcomes(pl.LightningModule):
    """Collects what steps came to, and logs metrics once an epoch: per batch that would cost as much as a step."""

    def __init__(self) -> None:
        super().__init__()
        self._outcomes: list[tuple[Tensor, Tensor, Tensor]] = []

    def _log_epoch(self, stage: str) -> None:
        """Logs the metrics of the outcomes so far, and begins anew."""
        raise NotImplementedError

    def on_train_epoch_start(self) -> None:
        """Starts the epoch's outcomes."""
        self._outcomes.clear()

    def on_train_epoch_end(self) -> None:
        """Logs the training metrics of the epoch."""
        self._log_epoch("train")

    def on_validation_epoch_start(self) -> None:
        """Puts the training outcomes aside: validation may run before the epoch's metrics are logged."""
        self._training_outcomes, self._outcomes = self._outcomes, []

    def on_validation_epoch_end(self) -> None:
        """Logs the validation metrics."""
        self._log_epoch("val")
        self._outcomes = self._training_outcomes


class ScoredModule(EpochOutcomes):
    """A module that maps samples to scores of classes, whoever trains it.

    A subclass implements ``forward``: x of shape (N, *input_shape) to scores (N, num_classes), the largest of the class
    that is meant, and `loss`. Each step's outcome is kept, and ``train/``, ``val/`` and ``test/`` ``loss`` (the mean
    over batches, by their sizes), ``accuracy`` and ``macro_f1`` are logged once an epoch.

    Args:
        input_shape: Shape of one sample, channels first.
        num_classes: Number of classes.
        class_weights: Weights of the classes in training: ``balanced``, which takes the data module's
            ``class_weights``, or one number a class; not set, every sample counts alike.

    Attributes:
        example_input_array: Zeros of shape (1, *input_shape), for tracing and summaries.
        loss_weight: The weights of the classes, float32, shape (num_classes,), or ``None``.

    Raises:
        UserError: If one of them is not known or not possible.
    """

    example_input_array: Tensor
    loss_weight: Tensor | None

    def __init__(self, input_shape: Sequence[int], num_classes: int, class_weights: ClassWeights = None) -> None:
        super().__init__()
        for name, value in (("input_shape", input_shape), ("num_classes", num_classes)):
            if value is None:  # where the command line takes it from data that has no such attribute
                raise UserError(
                    f"{name} is not known: give the data module an attribute {name} (it must be known before the data "
                    f"is read), or say --model.{name}"
                )
        if not tuple(input_shape) or min(input_shape) < 1:
            raise UserError(
                f"input_shape must be positive sizes, channels first, as in (1, 28, 28); got {tuple(input_shape)}"
            )
        if not 2 <= num_classes <= torch.iinfo(_SMALL).max:
            raise UserError(f"num_classes must be 2 to {torch.iinfo(_SMALL).max}, got {num_classes}")
        self.input_shape = tuple(input_shape)
        self.num_classes = num_classes
        _check_weights(class_weights, num_classes)
        self.class_weights = class_weights
        self.example_input_array = torch.zeros(1, *self.input_shape)
        weights = torch.tensor(class_weights) if isinstance(class_weights, list) else None
        self.register_buffer("loss_weight", weights, persistent=False)
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
                "macro_f1": MulticlassF1Score(num_classes, average="macro", validate_args=False),
            }
        )
        self.metrics = nn.ModuleDict(
            {f"{stage}_metrics": metrics.clone(f"{stage}/") for stage in ("train", "val", "test")}
        )

    def setup(self, stage: str) -> None:
        """Takes balanced class weights from the data module.

        Raises:
            UserError: If model and data do not go together, or the trainer was made with options that make no sense.
        """
        if problem := out_of_range(self.trainer):
            raise UserError(f"the trainer's {problem}")
        check_agreement(self, getattr(self.trainer, "datamodule", None))
        check_others_data(self, stage)
        if self.class_weights != "balanced":
            return
        weights = getattr(getattr(self.trainer, "datamodule", None), "class_weights", None)
        if weights is None:
            raise UserError(
                "class_weights 'balanced' needs a data module with the attribute class_weights; give it one, or give "
                f"class_weights as {self.num_classes} numbers"
            )
        self.loss_weight = torch.as_tensor(weights, dtype=torch.float32)

    def loss(self, scores: Tensor, target: Tensor) -> Tensor:
        """The loss of scores (N, num_classes) with classes (N,)."""
        raise NotImplementedError

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        return self._step(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects one batch's outcome."""
        self._step(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects one batch's outcome."""
        self._step(batch)

    def _step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, target = batch
        scores = self(x)
        try:
            loss = self.loss(scores, target)
        except (IndexError, RuntimeError) as error:
            if problem := problem_of_labels(target, len(x), self.num_classes):
                raise UserError(f"a batch can't be trained on or scored: {problem} (counted in the batch)") from error
            raise
        detached = scores.detach()
        if self.trainer.state.fn != TrainerFn.FITTING and not detached.isfinite().all():
            raise UserError(
                f"{type(self).__name__} gives scores that are not finite, which are of no class: its training has "
                "diverged, or the samples are not finite"
            )
        self._outcomes.append(((loss.detach() * len(target))[None], detached.argmax(-1), target))
        return loss

    def on_test_epoch_start(self) -> None:
        """Starts the test's outcomes."""
        self._outcomes.clear()

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self._log_epoch("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the outcomes of an epoch under way, so that its metrics cover it whole after a resume."""
        if self._outcomes and self.trainer.world_size == 1:
            save_outcomes(checkpoint, *(torch.cat(part) for part in zip(*self._outcomes, strict=True)))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes back the outcomes of an epoch under way."""
        if outcomes := checkpoint.get(_OUTCOMES):
            losses, predicted, target = (part.to(self.device) for part in outcomes)
            self._outcomes = [(losses, predicted.long(), target.long())]

    def _log_epoch(self, stage: str) -> None:
        if not self._outcomes:  # resumed at the end of an epoch: it was logged before
            return
        losses, predicted, target = (torch.cat(part) for part in zip(*self._outcomes, strict=True))
        self._outcomes.clear()
        metrics = self.metrics[f"{stage}_metrics"]
        assert isinstance(metrics, MetricCollection)
        metrics.update(predicted, target)
        self.log(f"{stage}/loss", losses.sum() / len(target), sync_dist=True)
        for name, value in metrics.compute().items():
            self.log(name, value, prog_bar=name == "val/accuracy")
        metrics.reset()


def save_outcomes(checkpoint: dict[str, Any], losses: Tensor, predicted: Tensor, target: Tensor) -> None:
    """Puts the outcomes of an epoch under way into a checkpoint, where a `ScoredModule` looks for them.

    Args:
        checkpoint: Where they go.
        losses: The sum of each batch's losses, shape (batches,).
        predicted: Classes, shape (N,).
        target: The true classes, shape (N,).
    """
    checkpoint[_OUTCOMES] = losses.cpu(), predicted.cpu().to(_SMALL), target.cpu().to(_SMALL)


def _check_weights(class_weights: ClassWeights, num_classes: int) -> None:
    if isinstance(class_weights, list):
        if len(class_weights) != num_classes:
            raise UserError(f"class_weights needs {num_classes} numbers, got {len(class_weights)}")
        if not all(0 <= each < math.inf for each in class_weights) or not any(class_weights):
            raise UserError(f"class_weights must be finite, not negative and not all 0, got {class_weights}")
    if isinstance(class_weights, str) and class_weights != "balanced":
        raise UserError(f"class_weights must be 'balanced' or {num_classes} numbers, got {class_weights!r}")
