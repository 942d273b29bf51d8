"""RandomState and LastCheckpoint together: a resumed run is the uninterrupted one, bit for bit."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import StochasticWeightAveraging

from mcubench.callbacks import EpochTimer, LastCheckpoint, RandomState
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import DSCNN
from tests.foreign import MyData, MyNet


class StopError(RuntimeError):
    pass


class Stop(pl.Callback):
    """Dies after a number of steps, as a crash would: nothing is saved any more."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise StopError


class PressCtrlC(pl.Callback):
    """Sends the process what Ctrl-C sends, once, at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def run(
    root: Path, model: pl.LightningModule, data: pl.LightningDataModule, *more: pl.Callback, **options: Any
) -> pl.Trainer:
    ckpt_path = options.pop("ckpt_path", None)
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        default_root_dir=root,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[*more],
        **options,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def dropout_net(**options: Any) -> DSCNN:
    pl.seed_everything(0, verbose=False)
    return DSCNN((1, 8, 8), 10, channels=4, blocks=1, dropout=0.5, **options)


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
@pytest.mark.parametrize("stop", [3, 36, 40, 72], ids=["epoch 1", "end of epoch 1", "epoch 2", "end of epoch 2"])
def test_resumed_is_uninterrupted(tmp_path: Path, stop: int, schedule: Any) -> None:
    whole = dropout_net(schedule=schedule)
    run(tmp_path / "whole", whole, Digits(size=8))
    with pytest.raises(StopError):
        run(tmp_path, dropout_net(schedule=schedule), Digits(size=8), RandomState(), LastCheckpoint(1), Stop(stop))
    path = tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["global_step"] in (stop - 1, stop)
    random.seed(99)
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    resumed = dropout_net(schedule=schedule)
    trainer = run(tmp_path, resumed, Digits(size=8), RandomState(), LastCheckpoint(), ckpt_path=path)
    assert trainer.global_step == 108
    assert equal(resumed, whole)


@pytest.mark.parametrize(
    ("options", "stop", "steps"),
    [
        ({"limit_train_batches": 10}, 13, 30),
        ({"overfit_batches": 10}, 13, 30),
        ({"accumulate_grad_batches": 2}, 23, 54),
        ({"accumulate_grad_batches": 5}, 13, 24),
        ({"val_check_interval": 0.25}, 40, 108),
        ({"gradient_clip_val": 0.1}, 40, 108),
    ],
    ids=str,
)
@pytest.mark.parametrize("every", [None, 1], ids=["end of epoch", "in the middle"])
def test_resumed_is_uninterrupted_with_trainer_options(
    tmp_path: Path, options: Any, stop: int, steps: int, every: int | None
) -> None:
    whole = dropout_net()
    run(tmp_path / "whole", whole, Digits(size=8), **options)
    with pytest.raises(StopError):
        run(tmp_path, dropout_net(), Digits(size=8), RandomState(), LastCheckpoint(every), Stop(stop), **options)
    resumed, path = dropout_net(), tmp_path / "checkpoints" / "last.ckpt"
    trainer = run(tmp_path, resumed, Digits(size=8), RandomState(), ckpt_path=path, **options)
    assert trainer.global_step == steps
    assert equal(resumed, whole)


def test_the_epoch_under_way_has_whole_metrics(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole", dropout_net(), Digits(size=8), enable_checkpointing=False).callback_metrics
    with pytest.raises(StopError):
        run(tmp_path, dropout_net(), Digits(size=8), RandomState(), LastCheckpoint(5), Stop(88))
    path = tmp_path / "checkpoints" / "last.ckpt"
    resumed = run(tmp_path, dropout_net(), Digits(size=8), RandomState(), ckpt_path=path).callback_metrics
    assert {name: float(value) for name, value in resumed.items()} == {
        name: pytest.approx(float(value), rel=1e-6) for name, value in expected.items()
    }


def test_without_random_states_dropout_differs(tmp_path: Path) -> None:
    """The mistake injected: what RandomState is for."""
    whole = dropout_net()
    run(tmp_path / "whole", whole, Digits(size=8))
    with pytest.raises(StopError):
        run(tmp_path, dropout_net(), Digits(size=8), LastCheckpoint(1), Stop(40))
    resumed = dropout_net()
    run(tmp_path, resumed, Digits(size=8), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert not equal(resumed, whole)


def test_foreign_module_and_shuffled_dataloader_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    def net() -> MyNet:
        pl.seed_everything(0, verbose=False)
        return MyNet()

    whole = net()
    run(tmp_path / "whole", whole, MyData(), RandomState(), LastCheckpoint())
    with pytest.raises(StopError):
        run(tmp_path, net(), MyData(), RandomState(), LastCheckpoint(), Stop(13))
    resumed = net()
    torch.manual_seed(5)
    run(tmp_path, resumed, MyData(), RandomState(), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
    assert equal(resumed, whole)


def test_python_and_numpy_states_are_restored(tmp_path: Path) -> None:
    pl.seed_everything(3, verbose=False)
    np.random.normal()  # noqa: NPY002 - leaves a second number cached, which is part of the state
    state = RandomState().state_dict()
    torch.save(state, tmp_path / "state.pt")
    expected = random.random(), np.random.normal(), torch.rand(1).item()  # noqa: NPY002
    pl.seed_everything(4, verbose=False)
    callback = RandomState()
    callback.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    callback.on_fit_start(None, None)  # type: ignore[arg-type]
    assert (random.random(), np.random.normal(), torch.rand(1).item()) == expected  # noqa: NPY002


def test_ctrl_c_saves_between_two_steps_and_resumes_exactly(tmp_path: Path) -> None:
    whole = dropout_net()
    run(tmp_path / "whole", whole, Digits(size=8))
    last = LastCheckpoint()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        run(tmp_path, dropout_net(), Digits(size=8), RandomState(), last, PressCtrlC(40))
    assert last.interrupted
    assert last.path == tmp_path / "checkpoints" / "last.ckpt"
    assert torch.load(last.path, weights_only=True)["global_step"] == 41, "the step under way was finished"
    signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    resumed = dropout_net()
    run(tmp_path, resumed, Digits(size=8), RandomState(), ckpt_path=last.path)
    assert equal(resumed, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("others", [[], [Stop(1)]], ids=["ends", "fails"])
def test_signals_are_given_back(tmp_path: Path, number: signal.Signals, others: list[pl.Callback]) -> None:
    """To who had them before the fit, and not to Lightning, whose handler of SIGTERM only logs."""
    before = signal.getsignal(number)
    with pytest.raises(StopError) if others else contextlib.nullcontext():
        run(tmp_path, dropout_net(), Digits(size=8), LastCheckpoint(), *others, limit_train_batches=1)
    assert signal.getsignal(number) is before


def test_every_n_train_steps_must_be_positive() -> None:
    with pytest.raises(UserError, match="at least 1, got 0"):
        LastCheckpoint(0)


def test_ctrl_c_is_given_back_after_an_error(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(StopError):
        run(tmp_path, dropout_net(), Digits(size=8), LastCheckpoint(), Stop(2))
    assert signal.getsignal(signal.SIGINT) is before


def test_checkpoints_fall_on_whole_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(LastCheckpoint, "_save", lambda self, trainer: saved.append(trainer.global_step))
    run(tmp_path, dropout_net(), Digits(size=8), LastCheckpoint(4), accumulate_grad_batches=3)
    # 36 batches are 12 steps an epoch; the end of an epoch saves once more
    assert saved == [4, 8, 12, 12, 16, 20, 24, 24, 28, 32, 36, 36]


class TestEpochTimer:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ticks = iter(float(2**power) for power in range(100))
        monkeypatch.setattr("time.perf_counter", lambda: next(ticks))

    def hooks(self, timer: EpochTimer, *names: str) -> None:
        for name in names:
            getattr(timer, name)(None, None)

    @pytest.mark.usefixtures("clock")
    def test_training_apart_from_validation_and_goes_on(self) -> None:
        timer = EpochTimer()
        self.hooks(timer, "on_validation_start", "on_validation_end")  # Lightning's sanity check: nothing is measured
        self.hooks(timer, "on_train_start")  # 1
        self.hooks(timer, "on_train_epoch_start")  # 2: a lap of 1
        self.hooks(timer, "on_validation_start")  # 4: training for 2
        self.hooks(timer, "on_validation_end")  # 8: validation for 4
        self.hooks(timer, "on_train_epoch_end")  # 16: training for 8
        assert timer.epochs == [10.0]
        assert timer.epoch == 10.0
        assert timer.fit == 15.0
        self.hooks(timer, "on_train_end")  # 32: a lap of 16
        self.hooks(timer, "on_validation_start", "on_validation_end")  # a later validate is not part of the fit
        assert timer.fit == 31.0
        again = EpochTimer()
        again.load_state_dict(timer.state_dict())
        self.hooks(again, "on_train_start", "on_train_epoch_start", "on_train_epoch_end")  # 64, 128, 256
        assert again.epochs == [10.0, 128.0]
        assert again.fit == 31.0 + 64.0 + 128.0

    @pytest.mark.usefixtures("clock")
    def test_the_epoch_under_way_is_kept(self) -> None:
        timer = EpochTimer()
        self.hooks(timer, "on_train_start", "on_train_epoch_start")  # 1, 2
        state = timer.state_dict()  # 4: training for 2
        again = EpochTimer()
        again.load_state_dict(state)
        self.hooks(again, "on_train_start", "on_train_epoch_end")  # 8, 16: training for 8 more
        assert again.epochs == [10.0]

    def test_under_a_plain_trainer(self, tmp_path: Path) -> None:
        timer, start = EpochTimer(), time.perf_counter()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", default_root_dir=tmp_path, callbacks=[timer], **quiet)
        trainer.fit(MyNet(), MyData())
        assert 0 < sum(timer.epochs) < timer.fit < time.perf_counter() - start
        first = timer.fit
        trainer.validate(MyNet(), MyData(), verbose=False)
        assert timer.fit == first
        run(tmp_path, MyNet(), MyData(), timer)
        assert len(timer.epochs) == 3, "a fresh fit starts from zero"


@pytest.mark.parametrize("callback", [EpochTimer(), RandomState()], ids=["EpochTimer", "RandomState"])
def test_a_checkpoint_loaded_for_testing_is_forgotten(tmp_path: Path, callback: Any) -> None:
    trainer = run(tmp_path, dropout_net(), Digits(size=8), callback)
    trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)
    trainer.validate(dropout_net(), Digits(size=8), ckpt_path=tmp_path / "x.ckpt", weights_only=True, verbose=False)
    plain, watched = dropout_net(), None
    run(tmp_path / "plain", plain, Digits(size=8))
    watched = dropout_net()
    run(tmp_path / "watched", watched, Digits(size=8), callback)
    assert equal(plain, watched)
    assert not isinstance(callback, EpochTimer) or len(callback.epochs) == 3


class RawOptimiser(MyNet):
    """Steps an optimiser that Lightning does not see, so that ``global_step`` stays 0."""

    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        optimizer.zero_grad()
        self.manual_backward(super().training_step(batch, batch_idx))
        optimizer.step()


class Accumulating(MyNet):
    """Adds up gradients of three batches, with an optimiser that Lightning sees."""

    automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        optimizer: Any = self.optimizers()
        self.manual_backward(super().training_step(batch, batch_idx))
        if batch_idx % 3 == 2:
            optimizer.step()
            optimizer.zero_grad()


class SkipsEpochs(MyNet):
    """Wants no batch at all, so that none comes to an end."""

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int:
        return -1


class PressAtBatch(pl.Callback):
    """Sends what Ctrl-C sends when the n-th batch begins, and counts those that ended."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.begun = self.ended = 0

    def on_train_batch_start(self, *args: Any) -> None:
        self.begun += 1
        if self.begun == self.batch:
            os.kill(os.getpid(), signal.SIGINT)

    def on_train_batch_end(self, *args: Any) -> None:
        self.ended += 1


class TestManualOptimisation:
    @pytest.fixture(autouse=True)
    def _handler(self) -> Any:
        before = signal.getsignal(signal.SIGINT)
        yield
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored

    @pytest.mark.parametrize(
        ("model", "press", "ended", "step"),
        [(RawOptimiser, 3, 3, 0), (RawOptimiser, 13, 13, 0), (Accumulating, 5, 6, 2), (Accumulating, 10, 10, 3)],
    )
    def test_ctrl_c_ends_it_when_the_step_is_done(
        self, tmp_path: Path, model: type[MyNet], press: int, ended: int, step: int
    ) -> None:
        """Ten batches an epoch, at whose end it is saved whatever Accumulating has added up."""
        keys, last = PressAtBatch(press), LastCheckpoint()
        with pytest.raises(SystemExit):
            run(tmp_path, model(), MyData(), keys, last)
        assert keys.ended == ended
        assert last.interrupted
        assert last.path is not None
        checkpoint = torch.load(last.path, weights_only=True)
        assert checkpoint["global_step"] == step
        assert checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]["total"]["ready"] == ended

    def test_saves_fall_on_batches_where_steps_are_not_seen(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        saved: list[int] = []
        monkeypatch.setattr(
            LastCheckpoint, "_save", lambda self, trainer: saved.append(trainer.fit_loop.total_batch_idx + 1)
        )
        run(tmp_path, RawOptimiser(), MyData(), LastCheckpoint(4))
        assert saved == [4, 8, 10, 12, 16, 20, 20, 24, 28, 30]

    def test_ctrl_c_where_no_batch_comes_to_an_end(self, tmp_path: Path) -> None:
        keys, last = PressAtBatch(2), LastCheckpoint()
        with pytest.raises(SystemExit):
            run(tmp_path, SkipsEpochs(), MyData(), keys, last)
        assert keys.begun == 2

    def test_ctrl_c_while_running_statistics_are_computed(self, tmp_path: Path) -> None:
        """Nothing is trained then: it stops at once, and the last epoch stays the one to resume from."""

        class Late(pl.Callback):
            def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
                if trainer.current_epoch == 3 and args[1] == 2:
                    os.kill(os.getpid(), signal.SIGINT)
                self.seen = trainer.current_epoch, args[1]

        late, last = Late(), LastCheckpoint()
        averaging = StochasticWeightAveraging(1e-2, swa_epoch_start=1)
        with pytest.raises(SystemExit):
            run(tmp_path, dropout_net(schedule="constant"), Digits(size=8), averaging, late, last)
        assert late.seen == (3, 2)
        assert last.path is not None
        assert torch.load(last.path, weights_only=True)["epoch"] == 2
