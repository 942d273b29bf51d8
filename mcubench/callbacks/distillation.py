"""Training a small module to answer as a large one does."""

from __future__ import annotations

import hashlib
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from mcubench.errors import UserError
from mcubench.training.averaging import is_statistics_pass

__all__ = ["Distillation"]


class Distillation(pl.Callback):
    """Trains a module to answer as a teacher does: Hinton, Vinyals and Dean (arXiv:1503.02531).

    Where the module's own loss L is a mean over the batch, ``(1 - weight) L + weight T² KL(p, q)`` is minimised: p and
    q are the teacher's and the module's softmax at temperature T, both of the same batch, after whatever augmentation
    there is. Any module will do whose forward gives logits, shape (N, classes), and whose loss is computed from them:
    it is the gradient of the logits that is changed, and L that the module logs. The second term, without its weight,
    is logged once an epoch, as ``train/distillation``.

    The teacher is put into evaluation mode and onto the module's device. It is not saved in checkpoints, but what it
    computes with is known there by its hash, so that a fit goes on with the same one only.

    Args:
        teacher: A trained module that takes what the module takes, and gives logits of the same classes.
        weight: The teacher's share of the loss.
        temperature: T; the higher, the more the teacher says of classes that it thinks unlikely.

    Raises:
        UserError: If an option is out of range, the checkpoint knows another teacher, outputs are not alike, or the
            loss does not depend on what forward gives.
    """

    def __init__(self, teacher: nn.Module, weight: float = 0.5, temperature: float = 4.0) -> None:
        if not 0 < weight <= 1:
            raise UserError(f"weight, the teacher's share of the loss, must be above 0 and at most 1; got {weight}")
        if not 0 < temperature < float("inf"):
            raise UserError(f"temperature must be positive and finite, got {temperature}")
        self.teacher = teacher
        self.weight = weight
        self.temperature = temperature
        self._hash = _hash(teacher)
        self._hooks: list[RemovableHandle] = []
        self._given: tuple[tuple[Any, ...], dict[str, Any]] = (), {}  # what forward was called with last
        self._trainer: pl.Trainer | None = None  # during a step
        self._changed = False  # whether this step's gradient was
        self._sum: Tensor | float = 0.0
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        """Who the teacher is, and what the epoch under way has come to."""
        return {"teacher": self._hash, "sum": float(self._sum), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with an epoch under way.

        Raises:
            UserError: If the teacher was another one.
        """
        if state_dict["teacher"] != self._hash:
            raise UserError("the run goes on with another teacher than it was trained with: give the same one")
        self._sum, self._count = state_dict["sum"], state_dict["count"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begins to listen to what forward gives."""
        self._release()
        self.teacher.to(pl_module.device).eval()
        self._hooks = [
            pl_module.register_forward_pre_hook(self._called, with_kwargs=True, prepend=True),  # before it is rounded
            pl_module.register_forward_hook(self._forwarded),
        ]

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """From now on forward is a training step's."""
        self._trainer, self._changed = trainer, False

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: STEP_OUTPUT, batch: Any, batch_idx: int
    ) -> None:
        """Sees that the teacher had a say.

        Raises:
            UserError: If it had none.
        """
        self._trainer = None
        if outputs and not self._changed and not is_statistics_pass(trainer):
            raise UserError(
                f"Distillation changes the gradient of what {type(pl_module).__name__}'s forward gives, and the loss "
                "does not depend on that: have training_step call self(x), which gives logits, shape (N, classes)"
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the teacher's term of the loss."""
        if self._count:
            pl_module.log("train/distillation", float(self._sum) / self._count, sync_dist=True)
        self._sum, self._count = 0.0, 0

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Listens no more."""
        self._release()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Likewise."""
        self._release()

    def _release(self) -> None:
        self._trainer = None
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        self._given = (), {}

    def _called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._given = args, kwargs

    def _forwarded(self, module: nn.Module, args: tuple[Any, ...], logits: Any) -> None:
        if self._trainer is None or not torch.is_grad_enabled() or not module.training:
            return
        # With several processes, Lightning has the whole step called as a forward: that gives a loss.
        if not isinstance(logits, Tensor) or logits.ndim != 2 or not logits.requires_grad:
            return
        found, given = logits.detach(), self._given
        # The teacher answers in the backward pass: what goes on in forward may be watched, or rounded.
        logits.register_hook(lambda gradient: self._taught(gradient, found, *given))

    def _taught(self, gradient: Tensor, logits: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """The gradient of the logits with the teacher's share in it: that of ``T² KL(p, q)`` is T (q - p) / N."""
        assert self._trainer is not None
        with torch.no_grad():
            answer = self.teacher(*args, **kwargs)
        if not isinstance(answer, Tensor) or answer.shape != logits.shape:
            theirs = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise UserError(
                f"the teacher must give logits of the module's samples and classes, shape {tuple(logits.shape)}; it "
                f"gives {theirs}"
            )
        self._changed = True
        wanted = (answer.float() / self.temperature).softmax(1)
        log_q = (logits.float() / self.temperature).log_softmax(1)
        divergence = nn.functional.kl_div(log_q, wanted, reduction="sum") * self.temperature**2
        self._sum, self._count = self._sum + divergence, self._count + len(logits)
        scaler = getattr(self._trainer.precision_plugin, "scaler", None)  # of half precision, which gradients pass
        scale = (scaler.get_scale() if scaler else 1) / self._trainer.accumulate_grad_batches
        of_teacher = (log_q.exp() - wanted) * (self.temperature / len(logits) * scale)
        return torch.lerp(gradient, of_teacher.to(gradient), self.weight)


def _hash(module: nn.Module) -> str:
    """SHA-256 of what a module computes with."""
    found = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        found.update(name.encode())
        if isinstance(value, Tensor):
            found.update(f"{value.dtype}{tuple(value.shape)}".encode())
            found.update(value.detach().cpu().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
