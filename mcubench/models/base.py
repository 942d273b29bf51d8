"""The base of all classifiers: loss, metrics and optimiser, so that a subclass is its architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from mcubench.errors import UserError, did_you_mean

__all__ = ["Activation", "Classifier", "activation_layer"]

Activation = Literal["relu", "relu6", "leaky_relu", "hardswish", "gelu", "sigmoid", "tanh"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "onecycle"]

_OUTCOMES = "mcubench.training_outcomes"
_SMALL = torch.int16  # of classes in checkpoints, which should stay as small as the models

_LAYERS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "leaky_relu": nn.LeakyReLU,
    "hardswish": nn.Hardswish,
    "gelu": nn.GELU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}


def activation_layer(name: Activation | None) -> nn.Module:
    """A new layer for an activation's name; ``None`` is the identity.

    Raises:
        UserError: If there is no such activation.
    """
    if name is None:
        return nn.Identity()
    if name not in _LAYERS:
        raise UserError(f"unknown activation {name!r}; there are {', '.join(_LAYERS)}.{did_you_mean(name, _LAYERS)}")
    return _LAYERS[name]()


class Classifier(pl.LightningModule):
    """A classifier trained with cross-entropy on logits.

    A subclass calls ``super().__init__(input_shape, num_classes, **training)``, makes its layers, and implements
    ``forward``: x of shape (N, *input_shape) to logits of shape (N, num_classes). It logs ``train/``, ``val/`` and
    ``test/`` ``loss`` (the mean over batches, by their sizes), ``accuracy`` and ``macro_f1`` once an epoch. Softmax is
    in the loss, not in the model.

    Args:
        input_shape: Shape of one sample, channels first; taken from the data when it is not given.
        num_classes: Number of classes; taken from the data when it is not given.
        optimizer: ``adam``, ``adamw`` (decoupled weight decay) or ``sgd`` (with `momentum`).
        learning_rate: The learning rate; with schedule ``onecycle``, its highest value.
        weight_decay: Weight decay of the optimiser.
        momentum: Momentum of ``sgd``.
        schedule: ``onecycle``, up and down once over the run; ``cosine``, down to 0 over the run; or ``constant``,
            the one for runs that will be continued beyond their end. Stepped with every batch.
        class_weights: Weights of the classes in the loss: ``balanced``, which takes the data module's
            ``class_weights``, or one number a class; not set, every sample counts alike.

    Attributes:
        example_input_array: Zeros of shape (1, *input_shape), for tracing and summaries.
    """

    example_input_array: Tensor

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        optimizer: Optimizer = "adam",
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        schedule: Schedule = "onecycle",
        class_weights: Literal["balanced"] | list[float] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        for name, value in (("input_shape", input_shape), ("num_classes", num_classes)):
            if value is None:  # where the command line takes it from data that has no such attribute
                raise UserError(
                    f"{name} is not known: give the data module an attribute {name} (it must be known before the data "
                    f"is read), or say --model.{name}"
                )
        _check_options(tuple(input_shape), num_classes, optimizer, schedule, class_weights)
        _check_ranges(learning_rate, weight_decay, momentum)
        self.input_shape = tuple(input_shape)
        self.num_classes = num_classes
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.schedule = schedule
        self.class_weights = class_weights
        self.example_input_array = torch.zeros(1, *self.input_shape)
        weights = torch.tensor(class_weights) if isinstance(class_weights, list) else None
        self.register_buffer("loss_weight", weights, persistent=False)
        self.loss_weight: Tensor | None
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
                "macro_f1": MulticlassF1Score(num_classes, average="macro", validate_args=False),
            }
        )
        self.metrics = nn.ModuleDict(
            {f"{stage}_metrics": metrics.clone(f"{stage}/") for stage in ("train", "val", "test")}
        )
        self._scheduler: torch.optim.lr_scheduler.LRScheduler | None = None
        # Metrics are updated once an epoch: an update per batch costs as much as a tiny model's step.
        self._outcomes: list[tuple[Tensor, Tensor, Tensor]] = []

    def setup(self, stage: str) -> None:
        """Takes balanced class weights from the data module."""
        if self.class_weights != "balanced":
            return
        weights = getattr(getattr(self.trainer, "datamodule", None), "class_weights", None)
        if weights is None:
            raise UserError(
                "class_weights 'balanced' needs a data module with the attribute class_weights; give it one, or give "
                f"class_weights as {self.num_classes} numbers"
            )
        self.loss_weight = torch.as_tensor(weights, dtype=torch.float32)

    def on_train_start(self) -> None:
        """Refuses to continue a schedule beyond the run that it was laid out for.

        Raises:
            UserError: If the restored schedule has another length than this run.
        """
        if self._scheduler is None or self.trainer.global_step == 0:
            return
        planned = getattr(self._scheduler, "total_steps", getattr(self._scheduler, "T_max", None))
        steps = self.trainer.estimated_stepping_batches
        if planned != steps:
            raise UserError(
                f"schedule {self.schedule!r} of the resumed run was laid out for {planned} steps, and this run has "
                f"{steps}: keep max_epochs, max_steps and batch_size as they were, or train anew; runs that will be "
                "extended need schedule constant"
            )

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of logits (N, num_classes) with classes (N,), weighted by class if so configured."""
        return nn.functional.cross_entropy(logits, target, self.loss_weight)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """The loss of one batch."""
        return self._step(batch)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects one batch's outcome."""
        self._step(batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Collects one batch's outcome."""
        self._step(batch)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities, shape (N, num_classes)."""
        logits: Tensor = self(batch[0])
        return logits.softmax(-1)

    def _step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, target = batch
        logits = self(x)
        loss = self.loss(logits, target)
        detached = logits.detach()
        self._outcomes.append(((loss.detach() * len(target))[None], detached.argmax(-1), target))
        return loss

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

    def on_test_epoch_start(self) -> None:
        """Starts the test's outcomes."""
        self._outcomes.clear()

    def on_test_epoch_end(self) -> None:
        """Logs the test metrics."""
        self._log_epoch("test")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps the outcomes of an epoch under way, so that its metrics cover it whole after a resume."""
        if self._outcomes and self.trainer.world_size == 1:
            losses, predicted, target = (torch.cat(part).cpu() for part in zip(*self._outcomes, strict=True))
            checkpoint[_OUTCOMES] = losses, predicted.to(_SMALL), target.to(_SMALL)

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

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and schedule that were asked for (fused kernels where the device has them)."""
        if not any(parameter.requires_grad for parameter in self.parameters()):
            raise UserError(f"{type(self).__name__} has no parameters to train")
        # A fused optimiser unscales gradients itself, and Lightning then refuses to clip them in mixed precision.
        fused = "mixed" not in str(self.trainer.precision)
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "fused": fused}
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(self.parameters(), momentum=self.momentum, **options)
        else:
            maker = torch.optim.AdamW if self.optimizer == "adamw" else torch.optim.Adam
            optimizer = maker(self.parameters(), **options)
        if self.schedule == "constant":
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        if not math.isfinite(steps):
            raise UserError(f"schedule {self.schedule!r} needs to know the run's length; set max_epochs or max_steps")
        scheduler: torch.optim.lr_scheduler.LRScheduler
        if steps < 1:  # nothing will be trained
            return optimizer
        if self.schedule == "cosine":
            scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=int(steps))
        else:
            scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.learning_rate, total_steps=int(steps))
        self._scheduler = scheduler
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _check_options(
    input_shape: tuple[int, ...],
    num_classes: int,
    optimizer: str,
    schedule: str,
    class_weights: str | list[float] | None,
) -> None:
    if not input_shape or min(input_shape) < 1:
        raise UserError(f"input_shape must be positive sizes, channels first, as in (1, 28, 28); got {input_shape}")
    if not 2 <= num_classes <= torch.iinfo(_SMALL).max:
        raise UserError(f"num_classes must be 2 to {torch.iinfo(_SMALL).max}, got {num_classes}")
    for name, value, kind in (("optimizer", optimizer, Optimizer), ("schedule", schedule, Schedule)):
        if value not in get_args(kind):
            raise UserError(f"{name} must be one of {', '.join(get_args(kind))}; got {value!r}")
    if isinstance(class_weights, list):
        if len(class_weights) != num_classes:
            raise UserError(f"class_weights needs {num_classes} numbers, got {len(class_weights)}")
        if min(class_weights) < 0 or not any(class_weights):
            raise UserError(f"class_weights must not be negative nor all 0, got {class_weights}")
    if isinstance(class_weights, str) and class_weights != "balanced":
        raise UserError(f"class_weights must be 'balanced' or {num_classes} numbers, got {class_weights!r}")


def _check_ranges(learning_rate: float, weight_decay: float, momentum: float) -> None:
    if not learning_rate > 0:
        raise UserError(f"learning_rate must be positive, got {learning_rate}")
    if not weight_decay >= 0:
        raise UserError(f"weight_decay must not be negative, got {weight_decay}")
    if not 0 <= momentum < 1:
        raise UserError(f"momentum must be in [0, 1), got {momentum}")
