"""One batch of training: forward, backward, clipping and update, as in Lightning's automatic optimisation."""

from __future__ import annotations

from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.loops.optimization.automatic import ClosureResult
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.signature_utils import is_param_in_hook_signature
from torch import Tensor

from mcubench.training.hooks import StepHooks

__all__ = ["Step"]


class Step:
    """Makes the steps of one epoch.

    The same calls in the same order as Lightning's own, without what they would do for nobody: profilers, hooks that
    nobody has overridden, wrappers around the optimiser.

    Args:
        trainer: The trainer, with its module and optimiser.
        hooks: The hooks of a step.
    """

    def __init__(self, trainer: Trainer, hooks: StepHooks) -> None:
        self._trainer = trainer
        self._module = module = trainer.lightning_module
        self._optimizer = trainer.optimizers[0]
        self._progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer
        self._hooks = hooks
        self._takes_index = is_param_in_hook_signature(module.training_step, "batch_idx", min_args=2)
        self._clips_itself = is_overridden("configure_gradient_clipping", module)

    def __call__(self, batch: Any, batch_idx: int, accumulating: bool) -> dict[str, Any]:
        """Trains on one batch.

        Args:
            batch: What the loader gave, on the module's device.
            batch_idx: Its index in the epoch.
            accumulating: Whether its gradients are only added up.

        Returns:
            What hooks after the batch get: the loss, detached, and what else the training step returned.
        """
        result: ClosureResult | None = None

        @torch.enable_grad()
        def closure() -> Tensor | None:
            nonlocal result
            result = self._gradients(batch, batch_idx)
            if not accumulating:
                self._hooks.before_optimizer_step(self._optimizer)
                if self._trainer.gradient_clip_val or self._clips_itself:
                    self._clip()
            return result.loss

        if accumulating:
            closure()
        else:
            self._progress.step.increment_ready()
            self._optimizer.step(closure=closure)  # type: ignore[arg-type]  # a tensor, or None, for a number
            self._progress.step.increment_completed()
        if result is None:
            raise MisconfigurationException(
                f"{type(self._optimizer).__name__}.step never called its closure, which computes the gradients"
            )
        return {} if result.loss is None else result.asdict()

    def _gradients(self, batch: Any, batch_idx: int) -> ClosureResult:
        module, hooks = self._module, self._hooks
        module._current_fx_name = "training_step"
        arguments = (batch, batch_idx) if self._takes_index else (batch,)
        output = self._trainer.strategy.training_step(*arguments)
        accumulate = self._trainer.accumulate_grad_batches  # which callbacks may change
        result = ClosureResult.from_training_step_output(output, accumulate)
        module._current_fx_name = None
        if batch_idx % accumulate == 0:
            progress = self._progress.zero_grad
            progress.increment_ready()
            hooks.before_zero_grad(self._optimizer)
            progress.increment_started()
            module.optimizer_zero_grad(self._trainer.current_epoch, batch_idx, self._optimizer)
            progress.increment_completed()
        if result.closure_loss is not None:  # a training step may return None, to leave its batch out
            hooks.before_backward(result.closure_loss)
            module.backward(result.closure_loss)
            hooks.after_backward()
        return result

    def _clip(self) -> None:
        trainer = self._trainer
        trainer.precision_plugin._clip_gradients(
            self._module, self._optimizer, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
        )
