"""The number of threads that a model trains with."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info

from mcubench.callbacks.random_state import random_states, restore_random_states
from mcubench.errors import UserError
from mcubench.training.threads import fastest_threads

__all__ = ["Threads"]

_MOST = 256  # on any machine; OpenMP gives up at some number above


class Threads(pl.Callback):
    """Trains with the number of threads that is fastest; it is measured before the first batch.

    Tiny models lose with two threads, and much when the machine has other work too; large ones gain. What is measured,
    on the CPU, is a module's ``batch_loss`` on its data module's ``first_batch``, as classifiers and data modules of
    mcubench have them; without these, torch's number is used. A resumed run keeps its number, as sums of floats depend
    on it. After training torch has its number back.

    Args:
        threads: The number; not given, it is measured.
        report: Takes the sentence that says what was chosen and why.

    Attributes:
        used: The number that was trained with last.
    """

    def __init__(self, threads: int | None = None, report: Callable[[str], None] = rank_zero_info) -> None:
        most = max(_MOST, os.cpu_count() or 1)
        if threads is not None and not 1 <= threads <= most:
            raise UserError(f"threads must be 1 to {most}, got {threads}")
        self.threads = threads
        self.report = report
        self.used = torch.get_num_threads()
        self._before: int | None = None
        self._found: str | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Chooses, before anything is trained."""
        if stage != "fit":
            return
        self._before, self._found = torch.get_num_threads(), None
        self._use(self.threads or self._fastest(trainer, pl_module) or self._before)

    def _fastest(self, trainer: pl.Trainer, module: Any) -> int | None:
        first_batch = getattr(getattr(trainer, "datamodule", None), "first_batch", None)
        on_cpu = trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1
        if not (on_cpu and first_batch and hasattr(module, "batch_loss")):
            return None
        states = random_states()
        try:
            choice = fastest_threads(module, first_batch())
        except Exception as error:  # a module may train in a way that this does not know; then it says what is wrong
            self._found = f"{torch.get_num_threads()} threads; others could not be measured ({type(error).__name__})"
            return None
        finally:
            restore_random_states(states)
        if choice is None:
            return None
        self._found = str(choice)
        return choice.threads

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says what was chosen."""
        if self._found is not None:
            self.report(self._found)

    def _use(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self.used = threads

    def state_dict(self) -> dict[str, Any]:
        """The number in use."""
        return {"threads": self.used}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the number that the run began with, unless another is asked for."""
        if self.threads is None and self._before is not None:
            self._use(state_dict["threads"])
            self._found = None

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Gives torch its number back."""
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Gives torch its number back: there is no teardown after an exception."""
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            torch.set_num_threads(self._before)
            self._before = None
