"""Several steps per execution: the reference is Lightning's own loop, one batch at a time, event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    EarlyStopping,
    GradientAccumulationScheduler,
    LearningRateMonitor,
    ModelCheckpoint,
    ProgressBar,
    StochasticWeightAveraging,
    Timer,
)
from lightning.pytorch.plugins.precision import MixedPrecision
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from mcubench.callbacks import LastCheckpoint, QuantizationAwareTraining
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import CNN, DSCNN, MLP, Classifier, CNN1d
from mcubench.training import ExecutionLoop
from mcubench.training.step import Step
from tests.foreign import MyData, MyNet
from tests.training.journal import QUIET, assert_same, equal, train

BATCHES = 14  # of Digits' 1,149 training samples, in batches of 88: the last has 5


def both(steps: int | None = 5, model: type[Classifier] = MLP, **options: Any) -> dict[str, Any]:
    """The training with several steps, which was found to be that with one."""
    several = train(steps, model, **options)
    assert isinstance(several["trainer"].fit_loop.epoch_loop, ExecutionLoop)
    assert_same(train(1, model, **options), several)
    return several


class Signals(CNN1d):
    """CNN1d, which takes an image for a signal of one channel."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(2))


@pytest.mark.parametrize("steps", [2, 5, 50, None])
@pytest.mark.parametrize("model", [MLP, CNN, DSCNN])
def test_every_event_and_every_bit_is_that_of_one_step_at_a_time(model: type[Classifier], steps: int | None) -> None:
    several = both(steps, model)
    assert sum(event[0] == "batch end" for event in several["events"]) == 2 * BATCHES
    assert several["trainer"].global_step == 2 * BATCHES


def test_signals() -> None:
    both(5, Signals, shape=(1, 64))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_optimisers_and_schedules(optimizer: str, schedule: str) -> None:
    both(options={"optimizer": optimizer, "schedule": schedule, "weight_decay": 0.01})


class Hooked(MLP):
    """Overrides what a module may override, and logs at every step."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        self.seen = [*getattr(self, "seen", []), ("start", batch_idx)]
        return -1 if self.current_epoch == 1 and batch_idx == 9 else None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log("seen", float(len(self.seen)), on_step=True, on_epoch=True)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("step_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return {"loss": loss, "also": batch_idx} if batch_idx % 3 else loss

    def on_after_backward(self) -> None:
        for parameter in self.parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(0.5)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        self.clip_gradients(optimizer, gradient_clip_val=0.01, gradient_clip_algorithm="value")

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad(set_to_none=False)


class Forgetful(MLP):
    """Leaves out every fourth batch; its training step takes no index."""

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Any:  # type: ignore[override]
        self.steps = getattr(self, "steps", 0) + 1
        loss = super().training_step(batch, 0)
        return None if self.steps % 4 == 0 else loss


class Plateau(MLP):
    """Lowers its rate when the loss that it logs does not fall, and every other step."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("noisy", loss)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        every = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        epoch = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        return [optimizer], [
            {"scheduler": plateau, "interval": "step", "monitor": "noisy", "strict": False},
            {"scheduler": every, "interval": "step", "frequency": 2},
            {"scheduler": epoch, "interval": "epoch"},
        ]


class Newton(MLP):
    """An optimiser that evaluates its closure several times."""

    def configure_optimizers(self) -> Any:
        return torch.optim.LBFGS(self.parameters(), lr=0.1, max_iter=3)


class Dropping(MLP):
    """Draws random numbers in its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


class Moving(MLP):
    """Changes its batches on their way to the device."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        x, y = batch
        return x.flip(-1), y


@pytest.mark.parametrize("model", [Hooked, Forgetful, Plateau, Newton, Dropping, Moving])
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step.*", "ignore:.training_step. returned .None.")
def test_what_a_module_overrides_is_honoured(model: type[Classifier], accumulate: int) -> None:
    if model is Hooked and accumulate > 1:
        accumulate = 3  # so that the skipped rest of the epoch begins between two updates
    several = both(model=model, accumulate_grad_batches=accumulate)
    if model is Hooked:
        assert several["trainer"].callback_metrics["seen_epoch"] > 0
        assert [event[-1] for event in several["events"] if event[0] == "batch start"][-1] == 9


class StopAt(pl.Callback):
    """Asks the trainer to stop after some step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step >= self.step:
            trainer.should_stop = True


class Meddling(pl.Callback):
    """Changes in the second epoch what a trainer was made with, and brings a friend along."""

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        if trainer.global_step == BATCHES - 1:
            trainer.gradient_clip_val = 0.01
        if trainer.current_epoch == 1 and trainer.accumulate_grad_batches == 1:
            trainer.callbacks.append(Doubling())  # type: ignore[attr-defined]

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.accumulate_grad_batches = 1 + trainer.current_epoch


class Doubling(pl.Callback):
    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        next(pl_module.parameters()).grad.mul_(2)  # type: ignore[union-attr]


def stopping() -> list[pl.Callback]:
    return [EarlyStopping("val/accuracy", mode="max", patience=1, min_delta=1.0), LearningRateMonitor()]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"gradient_clip_val": 0.05}, 2 * BATCHES),
        ({"gradient_clip_val": 0.001, "gradient_clip_algorithm": "value"}, 2 * BATCHES),
        ({"accumulate_grad_batches": 3}, 2 * 5),  # 14 batches: 4 times 3, and the last 2
        ({"accumulate_grad_batches": 20}, 2 * 1),
        ({"max_steps": 17}, 17),
        ({"max_steps": 17, "max_epochs": -1, "accumulate_grad_batches": 2}, 17),
        ({"max_epochs": None, "max_steps": 3}, 3),
        ({"val_check_interval": 4}, 2 * BATCHES),
        ({"val_check_interval": 0.5, "limit_val_batches": 2}, 2 * BATCHES),
        ({"val_check_interval": 9, "check_val_every_n_epoch": None}, 2 * BATCHES),
        ({"limit_train_batches": 7}, 14),
        ({"overfit_batches": 3}, 6),
        ({"max_epochs": 9, "callbacks": stopping}, 2 * BATCHES),
        ({"max_epochs": 9, "callbacks": lambda: [StopAt(18)]}, 18),
        ({"max_epochs": 9, "callbacks": lambda: [StopAt(3)], "min_steps": 20}, 20),
        ({"max_epochs": 9, "callbacks": lambda: [StopAt(3)], "min_epochs": 2}, 2 * BATCHES),
        ({"callbacks": lambda: [Timer("00:01:00:00"), LearningRateMonitor("step")]}, 2 * BATCHES),
        ({"callbacks": lambda: [QuantizationAwareTraining(start_epoch=1)]}, 2 * BATCHES),
        ({"callbacks": lambda: [QuantizationAwareTraining(weight_bits=4)], "gradient_clip_val": 0.05}, 2 * BATCHES),
        ({"callbacks": lambda: [GradientAccumulationScheduler({0: 2, 1: 3})]}, 7 + 5),
        ({"max_epochs": 3, "callbacks": lambda: [StochasticWeightAveraging(1e-2, swa_epoch_start=1)]}, 3 * BATCHES),
        ({"callbacks": lambda: [Meddling()]}, BATCHES + 7),
        ({"precision": "64-true"}, 2 * BATCHES),
        ({"precision": "bf16-mixed", "gradient_clip_val": 0.05}, 2 * BATCHES),
        ({"fast_dev_run": 3}, 3),
        ({"detect_anomaly": True, "max_epochs": 1}, BATCHES),
        ({"reload_dataloaders_every_n_epochs": 1, "log_every_n_steps": 1}, 2 * BATCHES),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
@pytest.mark.filterwarnings("ignore:The `lr_scheduler.step", "ignore:Detected call of `lr_scheduler.step")
def test_what_the_trainer_is_asked_for_is_honoured(options: dict[str, Any], steps: int) -> None:
    several = both(options={"schedule": "cosine"}, **options)
    assert several["trainer"].global_step == steps


@settings(max_examples=40)
@given(
    steps=st.integers(2, 30),
    batch_size=st.integers(80, 700),
    accumulate=st.integers(1, 6),
    max_steps=st.one_of(st.just(-1), st.integers(1, 40)),
    interval=st.one_of(st.none(), st.floats(0.1, 1.0)),
    log_every=st.integers(1, 9),
)
@pytest.mark.filterwarnings("ignore:The `lr_scheduler.step", "ignore:Detected call of `lr_scheduler.step")
def test_whatever_falls_together(
    steps: int, batch_size: int, accumulate: int, max_steps: int, interval: float | None, log_every: int
) -> None:
    batches = -(-1149 // batch_size)
    if interval is not None and int(interval * batches) == 0:
        interval = None
    both(
        steps,
        data={"batch_size": batch_size},
        accumulate_grad_batches=accumulate,
        max_steps=max_steps,
        val_check_interval=interval,
        log_every_n_steps=log_every,
        limit_val_batches=1,
    )


class Careless(torch.optim.SGD):
    """Computes its closure without gradients, as some do; torch's own turn them on."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = closure()
        super().step()
        return loss


class Deaf(torch.optim.SGD):
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        return None


class WithCareless(MLP):
    def configure_optimizers(self) -> Any:
        return Careless(self.parameters(), 0.1)


class WithDeaf(MLP):
    def configure_optimizers(self) -> Any:
        return Deaf(self.parameters(), 0.1)


def test_optimisers_that_turn_gradients_off() -> None:
    both(model=WithCareless)


def test_an_optimiser_that_never_computes_gradients_is_an_error() -> None:
    with pytest.raises(MisconfigurationException, match=r"Deaf\.step never called its closure"):
        train(5, WithDeaf)


@pytest.mark.parametrize("steps", [2, 50])
def test_without_anybody_who_watches(steps: int) -> None:
    """Hooks that nobody overrides are not called at all, which a journal would hide."""
    weights = []
    for number in (1, steps):
        torch.manual_seed(0)
        module = MLP((1, 8, 8), 10, steps_per_execution=number)
        pl.Trainer(max_epochs=2, logger=False, gradient_clip_val=0.05, **QUIET).fit(module, Digits(size=8, seed=3))
        weights.append(dict(module.named_parameters()))
    assert equal(*weights)


class Gappy(Digits):
    """Has a batch that is none, and one that is no tuple."""

    def train_dataloader(self) -> Any:
        return self

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[Any]:
        x, y = (torch.tensor(part) for part in self.arrays("train"))
        yield from [(x[:50], y[:50]), None, Pair(x[50:90], y[50:90]), [x[90:], y[90:]]]


class Pair:
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y


class Unpacking(MLP):
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return super().training_step((batch.x, batch.y) if isinstance(batch, Pair) else batch, batch_idx)


@pytest.mark.filterwarnings("ignore:train_dataloader yielded None")
def test_batches_of_any_form() -> None:
    weights = []
    for number in (1, 3):
        torch.manual_seed(0)
        module = Unpacking((1, 8, 8), 10, steps_per_execution=number, schedule="constant")
        fitter = pl.Trainer(max_epochs=2, logger=False, **QUIET)
        fitter.fit(module, Gappy(size=8))
        weights.append(dict(module.named_parameters()))
    assert equal(*weights)


@pytest.mark.parametrize("skipped", ["_clip", "before_optimizer_step", "optimizer_zero_grad"])
def test_what_is_left_out_is_seen(skipped: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if skipped == "_clip":
        monkeypatch.setattr(Step, "_clip", lambda self: None)
    elif skipped == "before_optimizer_step":
        made = Step.__init__

        def without(self: Step, trainer: pl.Trainer, hooks: Any) -> None:
            hooks.before_optimizer_step = lambda *args: None
            made(self, trainer, hooks)

        monkeypatch.setattr(Step, "__init__", without)
    else:
        ordinary = MLP.optimizer_zero_grad

        def sometimes(self: MLP, epoch: int, batch_idx: int, optimizer: Any) -> None:
            if self.steps_per_execution == 1:
                ordinary(self, epoch, batch_idx, optimizer)

        monkeypatch.setattr(MLP, "optimizer_zero_grad", sometimes)
    with pytest.raises(AssertionError, match="event"):
        both(gradient_clip_val=0.05)


# --- checkpoints and resume ---


def saved(folder: Path, steps: int) -> list[pl.Callback]:
    return [
        ModelCheckpoint(folder, filename="{step}", every_n_train_steps=steps, save_top_k=-1),
        ModelCheckpoint(folder, filename="best", monitor="val/accuracy", mode="max"),
    ]


@pytest.mark.parametrize(("before", "after"), [(1, 5), (5, 1), (5, 5)])
@pytest.mark.parametrize("at", [4, 14, 19])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_resumed_in_the_middle_of_an_epoch_it_ends_as_if_it_had_not_stopped(
    before: int, after: int, at: int, accumulate: int, tmp_path: Path
) -> None:
    common: dict[str, Any] = {
        "model": Dropping,
        "options": {"schedule": "constant"},
        "enable_checkpointing": True,
        "accumulate_grad_batches": accumulate,
        "max_epochs": 2 * accumulate,
    }
    whole = train(1, callbacks=lambda: saved(tmp_path / "a", at), **common)
    train(before, callbacks=lambda: saved(tmp_path / "b", at), max_steps=at + 1, **common)
    name = f"step={at}.ckpt"
    a, b = (torch.load(tmp_path / folder / name, weights_only=True) for folder in "ab")
    for what in ("loops", "state_dict", "optimizer_states", "global_step", "epoch"):
        assert equal(a[what], b[what]), what
    path = str(tmp_path / "b" / name)
    resumed = train(after, callbacks=lambda: saved(tmp_path / "c", at), ckpt_path=path, **common)
    assert resumed["trainer"].global_step == whole["trainer"].global_step
    assert equal(whole["weights"], resumed["weights"])

    def tail(training: dict[str, Any]) -> list[Any]:  # without the metrics logged so far, which no checkpoint holds
        return [(*e[:8], *e[9:]) for e in training["events"] if e[0] == "batch end" and e[1] > at]

    assert tail(resumed) == tail(whole)


def test_ctrl_c_ends_the_run_after_the_step_under_way(tmp_path: Path) -> None:
    class Interrupt(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
            if trainer.global_step == 16:
                last._on_signal(2, None)  # type: ignore[arg-type]

    last = LastCheckpoint()
    with pytest.raises(SystemExit):
        train(50, callbacks=lambda: [Interrupt(), last], default_root_dir=tmp_path, enable_checkpointing=True)
    assert last.path is not None
    assert torch.load(last.path, weights_only=True)["global_step"] == 17


# --- who looks up when ---


class Bar(ProgressBar):
    def __init__(self) -> None:
        super().__init__()
        self.started: list[int] = []
        self.ended: list[int] = []

    def disable(self) -> None: ...

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.started.append(batch_idx)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.ended.append(batch_idx)


def test_progress_bars_move_once_an_execution() -> None:
    bar = Bar()
    train(5, callbacks=lambda: [bar], max_epochs=1, enable_progress_bar=True)
    assert bar.started == [0, 5, 10]
    assert bar.ended == [4, 9, 13]


def test_an_execution_ends_where_validation_is_due() -> None:
    bar = Bar()
    train(10, callbacks=lambda: [bar], max_epochs=1, enable_progress_bar=True, val_check_interval=4)
    assert bar.ended == [3, 7, 11, 13]


# --- what stands against it ---


class OwnStrategy(SingleDeviceStrategy):
    strategy_name = "own"


class OwnSteps(MLP):
    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)


class Manual(MLP):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.automatic_optimization = False

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        return loss


class Fetching(MLP):
    def training_step(self, dataloader_iter: Any) -> Tensor:  # type: ignore[override]
        batch, index, _ = next(dataloader_iter)
        return super().training_step(batch, index)

    def on_train_epoch_end(self) -> None:
        """Logs nothing: Lightning does not know how many samples such a step took."""


def scaled() -> dict[str, Any]:
    return {"plugins": [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu"))]}


@pytest.mark.parametrize(
    ("model", "trainer", "reason"),
    [
        (MLP, lambda: {"strategy": OwnStrategy("cpu")}, "OwnStrategy has its own way of making a step"),
        (MLP, scaled, "precision 16-mixed scales gradients around each step"),
        (MLP, lambda: {"profiler": "simple"}, "SimpleProfiler measures what is left out"),
        (Manual, dict, r"Manual optimises by itself \(automatic_optimization = False\)"),
        (OwnSteps, dict, "OwnSteps overrides optimizer_step"),
        (Fetching, dict, r"Fetching.training_step takes its batches itself \(dataloader_iter\)"),
    ],
)
def test_what_stands_against_it_is_said(
    model: type[Classifier], trainer: Callable[[], dict[str, Any]], reason: str
) -> None:
    with pytest.raises(
        UserError, match=f"steps_per_execution 5 is not possible here: {reason}; leave it out, or say 1"
    ):
        train(5, model, **trainer())
    open_ = train(None, model, max_epochs=1, **trainer())
    assert_same(train(1, model, max_epochs=1, **trainer()), open_)


@pytest.mark.parametrize("steps", [0, -3])
def test_at_least_one_step(steps: int) -> None:
    with pytest.raises(UserError, match=f"steps_per_execution must be at least 1, got {steps}"):
        MLP((1, 8, 8), 10, steps_per_execution=steps)


def test_a_module_that_knows_nothing_of_it_is_trained_as_ever() -> None:
    fitter = pl.Trainer(max_epochs=1, logger=False, **QUIET)
    loop = fitter.fit_loop.epoch_loop
    fitter.fit(MyNet(), MyData())
    assert fitter.fit_loop.epoch_loop is loop
    assert not isinstance(loop, ExecutionLoop)


def test_a_trainer_goes_on_counting_from_module_to_module() -> None:
    fitter = pl.Trainer(max_epochs=1, logger=False, **QUIET)
    fitter.fit(MyNet(), MyData())
    assert fitter.global_step == 10  # 200 samples in batches of 20
    fitter.fit_loop.max_epochs = 2
    fitter.fit(MLP((1, 8, 8), 10), Digits(size=8, batch_size=88))
    assert fitter.global_step == 10 + BATCHES
    fitter.fit_loop.max_epochs = 3
    fitter.fit(MyNet(), MyData())
    assert fitter.global_step == 10 + BATCHES + 10
