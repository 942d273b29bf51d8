"""The base of all networks: loss and optimiser, so that a subclass is its architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from mcubench.errors import UserError, did_you_mean
from mcubench.models.scored import ClassWeights, ScoredModule
from mcubench.search.space import Number, Space
from mcubench.training import ExecutionLoop, set_memory_format
from mcubench.training.averaging import mostly_untrained
from mcubench.training.schedules import LaidOut, Schedule, planned_steps

__all__ = ["Activation", "Classifier", "activation_layer"]

Activation = Literal["relu", "relu6", "leaky_relu", "hardswish", "gelu", "sigmoid", "tanh"]
Optimizer = Literal["adam", "adamw", "sgd"]

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


class Classifier(ScoredModule):
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
        label_smoothing: Share of a sample's class, in the loss that is trained, that is spread evenly over all classes
            (Szegedy et al., arXiv:1512.00567); validation and test have the plain loss.
        steps_per_execution: Optimiser steps between two looks of Lightning's loop at progress bar, validation and
            signals. It changes the speed, and nothing that is computed, logged or saved; not set, it is 50 wherever
            that is possible, else 1.

    Attributes:
        example_input_array: Zeros of shape (1, *input_shape), for tracing and summaries.
        channels_last: Whether weights of convolutions have their channels last while it trains on a CPU, which is
            faster where pooling comes before the activation. A subclass that says so must not ``view`` what a
            convolution gives as another shape, but ``flatten`` or ``reshape`` it.
    """

    channels_last = False

    @classmethod
    def search_space(cls) -> Space:
        """What ``search`` varies, by option; a subclass adds its architecture's."""
        return {"learning_rate": Number(1e-3, 3e-2, log=True)}

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        optimizer: Optimizer = "adam",
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        schedule: Schedule = "onecycle",
        class_weights: ClassWeights = None,
        label_smoothing: float = 0.0,
        steps_per_execution: int | None = None,
    ) -> None:
        super().__init__(input_shape, num_classes, class_weights)
        self.save_hyperparameters()
        for name, value, kind in (("optimizer", optimizer, Optimizer), ("schedule", schedule, Schedule)):
            if value not in get_args(kind):
                raise UserError(f"{name} must be one of {', '.join(get_args(kind))}; got {value!r}")
        _check_ranges(learning_rate, weight_decay, momentum, label_smoothing)
        if steps_per_execution is not None and steps_per_execution < 1:
            raise UserError(f"steps_per_execution must be at least 1, got {steps_per_execution}")
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.schedule = schedule
        self.label_smoothing = label_smoothing
        self.steps_per_execution = steps_per_execution
        self._laid_out: LaidOut | None = None
        self._resumed_at = 0  # optimiser steps of the checkpoint that a fit goes on from
        self._trained_with: Mapping[str, Any] = {}  # the options in it

    def setup(self, stage: str) -> None:
        """Prepares the trainer for several steps in one execution."""
        super().setup(stage)
        self._resumed_at, self._trained_with = 0, {}
        if stage == "fit":
            ExecutionLoop.install(self.trainer)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Notes how far the run was that a fit goes on with."""
        super().on_load_checkpoint(checkpoint)
        self._resumed_at = max(self._resumed_at, int(checkpoint.get("global_step", 0)))
        self._trained_with = checkpoint.get(self.CHECKPOINT_HYPER_PARAMS_KEY, {})

    def on_train_start(self) -> None:
        """Lays out weights for speed, and the schedule anew if the run's length has changed since that was laid out.

        Raises:
            UserError: If the restored schedule has another length than this run, a checkpoint was lost that the run
                should go on from, or an average of weights would be one of untrained weights.
        """
        if self.trainer.global_step < self._resumed_at:
            raise UserError(
                f"the checkpoint was written after {self._resumed_at} steps, and training would begin at "
                f"{self.trainer.global_step}: callbacks such as LearningRateFinder and BatchSizeFinder, which restore "
                "a checkpoint of their own when a fit begins, can't be used where one goes on; leave them out"
            )
        if self.channels_last and self.device.type == "cpu":
            set_memory_format(self, torch.channels_last, self.trainer.optimizers)
        if self.trainer.global_step == 0 and (problem := mostly_untrained(self.trainer, planned_steps(self.trainer))):
            raise UserError(problem)
        if self._laid_out is not None:
            self._laid_out.follow_length(self.trainer, self.learning_rate)
        if self.trainer.global_step > 0:
            self._follow_options(self._trained_with)

    def _follow_options(self, before: Mapping[str, Any]) -> None:
        """Has a restored optimiser follow options that are others than those that it was saved with."""
        rate, decay = before.get("learning_rate", self.learning_rate), before.get("weight_decay", self.weight_decay)
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        if decay != self.weight_decay:
            for group in groups:
                group["weight_decay"] = self.weight_decay
        if rate == self.learning_rate:
            return
        if self._laid_out is not None:
            self._laid_out.follow_rate(self.trainer, self.learning_rate, before=rate)
            return
        for group in groups:
            group["lr"] = self.learning_rate if group["lr"] == rate else group["lr"] * self.learning_rate / rate

    def on_train_epoch_start(self) -> None:
        """Starts the epoch's outcomes; the schedule follows the learning rate, which callbacks may have set."""
        super().on_train_epoch_start()
        if self._laid_out is not None:
            self._laid_out.follow_rate(self.trainer, self.learning_rate)

    def on_train_end(self) -> None:
        """Gives weights their usual layout back."""
        if self.channels_last:
            set_memory_format(self, torch.contiguous_format, self.trainer.optimizers)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy of logits (N, num_classes) with classes (N,), weighted and smoothed if so configured."""
        return nn.functional.cross_entropy(logits, target, self.loss_weight, label_smoothing=self.smoothing)

    @property
    def smoothing(self) -> float:
        """The label smoothing of the loss at this moment: only what is trained is smoothed."""
        return self.label_smoothing if self.training else 0.0

    def batch_loss(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss of one batch and nothing else, for `Threads`."""
        return self.loss(self(x), target)

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Class probabilities, shape (N, num_classes)."""
        logits: Tensor = self(batch[0])
        return logits.softmax(-1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and schedule that were asked for (fused kernels where the device has them)."""
        return self.optimizers_of(list(self.parameters()))

    def optimizers_of(self, parameters: Sequence[nn.Parameter]) -> OptimizerLRScheduler:
        """The same for other parameters: those of several seeds, stacked, when `mcubench.seeds` trains them at once.

        Raises:
            UserError: If none of them is trained, or the schedule needs the run's length and that is not known.
        """
        if not any(parameter.requires_grad for parameter in parameters):
            raise UserError(f"{type(self).__name__} has no parameters to train")
        # A fused optimiser unscales gradients itself, and Lightning then refuses to clip them in mixed precision.
        fused = "mixed" not in str(self.trainer.precision)
        options: dict[str, Any] = {"lr": self.learning_rate, "weight_decay": self.weight_decay, "fused": fused}
        optimizer: torch.optim.Optimizer
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(parameters, momentum=self.momentum, **options)
        else:
            maker = torch.optim.AdamW if self.optimizer == "adamw" else torch.optim.Adam
            optimizer = maker(parameters, **options)
        self._laid_out = None
        if self.schedule == "constant":
            return optimizer
        steps = planned_steps(self.trainer)
        if not math.isfinite(steps):
            raise UserError(f"schedule {self.schedule!r} needs to know the run's length; set max_epochs or max_steps")
        if steps < 1:  # nothing will be trained
            return optimizer
        self._laid_out = LaidOut(self.schedule, optimizer, self.learning_rate, int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self._laid_out.scheduler, "interval": "step"}}


def _check_ranges(learning_rate: float, weight_decay: float, momentum: float, label_smoothing: float) -> None:
    if not 0 < learning_rate < math.inf:
        raise UserError(f"learning_rate must be positive and finite, got {learning_rate}")
    if not 0 <= weight_decay < math.inf:
        raise UserError(f"weight_decay must be finite and not negative, got {weight_decay}")
    if not 0 <= momentum < 1:
        raise UserError(f"momentum must be in [0, 1), got {momentum}")
    if not 0 <= label_smoothing < 1:
        raise UserError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
