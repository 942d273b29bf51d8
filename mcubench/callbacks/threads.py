"""The number of threads that a model trains with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities import rank_zero_info

from mcubench.errors import UserError
from mcubench.training.threads import fastest_threads

__all__ = ["Threads"]


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
        if threads is not None and threads < 1:
            raise UserError(f"threads must be at least 1, got {threads}")
        self.threads = threads
        self.report = report
        self.used = torch.get_num_threads()
        self._before: int | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Chooses, before anything is trained."""
        if stage != "fit":
            return
        self._before = torch.get_num_threads()
        if self.threads is not None:
            self._use(self.threads)
            return
        on_cpu = trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1
        batch = getattr(getattr(trainer, "datamodule", None), "first_batch", None)
        loss = getattr(pl_module, "batch_loss", None)
        choice = fastest_threads(pl_module, batch(), loss) if on_cpu and batch and loss else None
        if choice is not None:
            self.report(str(choice))
        self._use(self._before if choice is None else choice.threads)

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
