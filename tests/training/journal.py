"""What everybody sees of a training, written down event by event: two trainings are equal if their journals are."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from torch import Tensor

from mcubench.callbacks import RandomState
from mcubench.datamodules import Digits
from mcubench.models import MLP, Classifier

Event = tuple[Any, ...]

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "num_sanity_val_steps": 0,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


def plain(value: Any) -> Any:
    """A value that compares by `==`."""
    if isinstance(value, Tensor):
        return value.item() if value.numel() == 1 else float(value.double().sum())
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


class Journal(pl.Callback):
    """Every hook of a training, with where the trainer stood and what was handed over."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def _note(self, name: str, trainer: pl.Trainer, *seen: Any) -> None:
        module = trainer.lightning_module
        gradient = next(module.parameters()).grad
        self.events.append(
            (
                name,
                trainer.global_step,
                trainer.current_epoch,
                trainer.fit_loop.epoch_loop.batch_idx,
                trainer.is_last_batch,
                module._current_fx_name,
                plain(trainer.optimizers[0].param_groups[0]["lr"]),
                None if gradient is None else plain(gradient),
                plain(dict(trainer.callback_metrics)),
                *map(plain, seen),
            )
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note("epoch start", trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._note("batch start", trainer, batch, batch_idx)

    def on_before_zero_grad(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self._note("before zero_grad", trainer, type(optimizer).__name__)

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self._note("before backward", trainer, loss)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note("after backward", trainer)

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        self._note("before optimizer step", trainer, type(optimizer).__name__)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._note("batch end", trainer, outputs, batch, batch_idx)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note("validation start", trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note("validation end", trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._note("epoch end", trainer)


class Log(DummyLogger):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Any] = []

    def log_metrics(self, metrics: Any, step: int | None = None, *args: Any, **kwargs: Any) -> None:
        self.rows.append((step, plain(metrics)))


def progress(trainer: pl.Trainer) -> dict[str, Any]:
    """All counters of Lightning's loops, as a checkpoint holds them."""
    state: dict[str, Any] = trainer.fit_loop.state_dict()
    return state


def train(
    steps: int | None,
    model: type[Classifier] = MLP,
    *,
    data: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    shape: tuple[int, ...] = (1, 8, 8),
    **trainer: Any,
) -> dict[str, Any]:
    """Trains on Digits, and gives all that can be told of it.

    Args:
        steps: Steps per execution.
        model: The model.
        data: Options of the data module.
        options: Options of the model.
        shape: Of a sample.
        **trainer: Options of the trainer; ``callbacks`` is a function that makes them.
    """
    pl.seed_everything(1, verbose=False)
    module = model(shape, 10, steps_per_execution=steps, **(options or {}))
    journal, log = Journal(), Log()
    extra = trainer.pop("callbacks", list)()
    fit_options = {k: trainer.pop(k) for k in ("ckpt_path",) if k in trainer}
    fitter = pl.Trainer(
        **{"max_epochs": 2, "logger": log, "log_every_n_steps": 3, **QUIET, **trainer},
        callbacks=[journal, RandomState(), *extra],
    )
    fitter.fit(module, Digits(size=8, seed=3, **{"batch_size": 88, **(data or {})}), weights_only=True, **fit_options)
    return {
        "events": journal.events,
        "log": log.rows,
        "weights": {name: value.clone() for name, value in module.state_dict().items()},
        "optimizer": fitter.optimizers[0].state_dict(),
        "progress": progress(fitter),
        "random": torch.get_rng_state(),
        "trainer": fitter,
    }


def equal(one: Any, other: Any) -> bool:
    """Whether two states, tensors in lists and dictionaries, are the same bit for bit."""
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Everything but the trainers themselves, bit for bit."""
    for place, (a, b) in enumerate(zip(one["events"], other["events"], strict=False)):
        assert a == b, f"event {place}"
    for what in ("log", "progress"):
        assert one[what] == other[what], what
    assert len(one["events"]) == len(other["events"])
    for what in ("weights", "optimizer", "random"):
        assert equal(one[what], other[what]), what
