"""Hooks of a training step, called only where somebody has overridden them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar

__all__ = ["Hook", "StepHooks"]


class Hook:
    """One hook: what callbacks, in their order, and then the module do at it.

    Lightning enters a profiler for each of them, overridden or not, which costs a tiny model more than its arithmetic.

    Args:
        name: Name of the hook.
        trainer: The trainer, with its module.
        callbacks: Whose hooks are called.
        with_module: Whether the module's is, too.
    """

    def __init__(
        self, name: str, trainer: pl.Trainer, callbacks: Sequence[pl.Callback], *, with_module: bool = True
    ) -> None:
        self._name = name
        self._module = module = trainer.lightning_module
        self._calls = [
            functools.partial(getattr(callback, name), trainer, module)
            for callback in callbacks
            if _overrides(callback, name, pl.Callback)
        ]
        self._own = getattr(module, name) if with_module and _overrides(module, name, pl.LightningModule) else None

    def __call__(self, *args: Any) -> Any:
        """Calls them all, and returns what the module's answers."""
        if not self._calls and self._own is None:
            return None
        # `self.log` and Lightning's messages ask for the name of the hook they are called from.
        outer, self._module._current_fx_name = self._module._current_fx_name, self._name
        for call in self._calls:
            call(*args)
        response = None if self._own is None else self._own(*args)
        self._module._current_fx_name = outer
        return response


def _overrides(instance: object, name: str, base: type) -> bool:
    """Whether a hook is not the base class' own: overridden by a subclass, or set on the instance."""
    return name in vars(instance) or getattr(type(instance), name) is not getattr(base, name)


class StepHooks:
    """The hooks around one batch of training.

    Attributes:
        callbacks: Whose they are.
        batch_start: Before a batch.
        before_zero_grad: Before gradients are cleared.
        before_backward: Before gradients are computed.
        after_backward: After that.
        before_optimizer_step: Before they are clipped and used.
        batch_end: After a batch.
        bar_start: Before a batch, of progress bars.
        bar_end: After a batch, of progress bars.
    """

    def __init__(self, trainer: pl.Trainer) -> None:
        callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector of Lightning's
        self.callbacks = list(callbacks)
        bars = [callback for callback in callbacks if isinstance(callback, ProgressBar)]
        others = [callback for callback in callbacks if not isinstance(callback, ProgressBar)]
        self.batch_start = Hook("on_train_batch_start", trainer, others)
        self.before_zero_grad = Hook("on_before_zero_grad", trainer, callbacks)
        self.before_backward = Hook("on_before_backward", trainer, callbacks)
        self.after_backward = Hook("on_after_backward", trainer, callbacks)
        self.before_optimizer_step = Hook("on_before_optimizer_step", trainer, callbacks)
        self.batch_end = Hook("on_train_batch_end", trainer, others)
        self.bar_start = Hook("on_train_batch_start", trainer, bars, with_module=False)
        self.bar_end = Hook("on_train_batch_end", trainer, bars, with_module=False)
