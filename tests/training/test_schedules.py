"""Schedules whose learning rate or length changes after they were laid out: PyTorch's own are the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging

from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import DSCNN, MLP
from tests.training.journal import QUIET

Kind = Literal["constant", "cosine", "onecycle"]


class Rates(pl.Callback):
    """The learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen.append(float(trainer.optimizers[0].param_groups[0]["lr"]))


def fit(
    root: Path, schedule: Kind, *callbacks: pl.Callback, ckpt_path: Path | None = None, **options: Any
) -> tuple[MLP, list[float], pl.Trainer]:
    pl.seed_everything(0, verbose=False)
    net, rates = MLP((1, 8, 8), 10, schedule=schedule, learning_rate=0.004), Rates()
    trainer = pl.Trainer(
        **{"max_epochs": 2, "logger": False, "default_root_dir": root, **QUIET, **options},
        callbacks=[*callbacks, rates],
    )
    trainer.fit(net, Digits(size=8, batch_size=64), ckpt_path=ckpt_path, weights_only=True)
    return net, rates.seen, trainer


def reference(schedule: Kind, peak: float, steps: int) -> list[float]:
    """The rates of a run of so many steps, by PyTorch's schedulers."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], peak)
    scheduler: Any = None
    if schedule == "cosine":
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    elif schedule == "onecycle":
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return rates


STEPS = 2 * 18  # 1,149 samples in batches of 64


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
class TestLearningRateFinder:
    def test_the_whole_schedule_is_that_of_the_rate_it_finds(self, schedule: Kind, tmp_path: Path) -> None:
        net, rates, _ = fit(tmp_path, schedule, LearningRateFinder(num_training_steps=40))
        assert net.learning_rate != 0.004
        assert rates == pytest.approx(reference(schedule, net.learning_rate, STEPS))
        assert net.hparams["learning_rate"] == net.learning_rate

    def test_without_it_nothing_changes(self, schedule: Kind, tmp_path: Path) -> None:
        _, rates, _ = fit(tmp_path, schedule)
        assert rates == pytest.approx(reference(schedule, 0.004, STEPS))

    def test_a_checkpoint_that_it_would_lose_is_an_error(self, schedule: Kind, tmp_path: Path) -> None:
        """Lightning restores the finder's own checkpoint, and forgets where the run stood."""
        _, _, trainer = fit(tmp_path, schedule)
        trainer.save_checkpoint(tmp_path / "x.ckpt")
        finder = LearningRateFinder(num_training_steps=20)
        with pytest.raises(
            UserError, match=f"after {STEPS} steps, and training would begin at 0: .*LearningRateFinder"
        ):
            fit(tmp_path, schedule, finder, ckpt_path=tmp_path / "x.ckpt", max_epochs=3)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "onecycle"])
def test_a_rate_that_a_callback_sets(schedule: Kind, tmp_path: Path) -> None:
    class Halve(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                pl_module.learning_rate = 0.002
                if schedule == "constant":
                    trainer.optimizers[0].param_groups[0]["lr"] = 0.002

    _, rates, _ = fit(tmp_path, schedule, Halve())
    assert rates[:18] == pytest.approx(reference(schedule, 0.004, STEPS)[:18])
    assert rates[18:] == pytest.approx(reference(schedule, 0.002, STEPS)[18:])


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_a_rate_that_the_schedule_would_overwrite_is_refused(schedule: Kind, tmp_path: Path) -> None:
    class Set(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
            trainer.optimizers[0].param_groups[0]["lr"] = 0.1

    with pytest.raises(
        UserError, match=rf"set to 0\.1 where schedule '{schedule}' has .* set the model's learning_rate"
    ):
        fit(tmp_path, schedule, Set())


class TestBatchSizeFinder:
    @pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
    def test_the_schedule_is_as_long_as_the_run_has_become(self, schedule: Kind, tmp_path: Path) -> None:
        finder = BatchSizeFinder(init_val=16, max_trials=4)
        _, rates, trainer = fit(tmp_path, schedule, finder)
        size = trainer.datamodule.batch_size  # type: ignore[attr-defined]
        assert size == finder.optimal_batch_size == 128
        assert len(rates) == 2 * -(-1149 // 128)
        assert rates == pytest.approx(reference(schedule, 0.004, len(rates)))

    def test_more_trials_than_the_run_has_steps(self, tmp_path: Path) -> None:
        """A schedule that is stepped beyond its end is an error of PyTorch's."""
        _, rates, _ = fit(tmp_path, "onecycle", BatchSizeFinder(init_val=2, max_trials=9), max_epochs=1)
        assert rates == pytest.approx(reference("onecycle", 0.004, len(rates)))


def test_a_resumed_run_of_another_length_is_refused_as_ever(tmp_path: Path) -> None:
    _, _, trainer = fit(tmp_path, "onecycle", max_epochs=2)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(UserError, match=r"laid out for 36 steps, and this run has 54: keep max_epochs"):
        fit(tmp_path, "onecycle", ckpt_path=tmp_path / "x.ckpt", max_epochs=3)


@pytest.mark.parametrize("schedule", ["cosine", "onecycle"])
def test_the_pass_for_running_statistics_is_no_part_of_the_schedule(schedule: Kind, tmp_path: Path) -> None:
    """StochasticWeightAveraging adds an epoch to max_epochs where there is batch norm, in which nothing is stepped."""
    pl.seed_everything(0, verbose=False)
    net, rates = DSCNN((1, 8, 8), 10, channels=4, blocks=1, schedule=schedule, learning_rate=0.004), Rates()
    averaging = StochasticWeightAveraging(1e-3, swa_epoch_start=2)
    trainer = pl.Trainer(max_epochs=3, logger=False, default_root_dir=tmp_path, callbacks=[averaging, rates], **QUIET)
    trainer.fit(net, Digits(size=8, batch_size=64))
    assert rates.seen[:18] == pytest.approx(reference(schedule, 0.004, 3 * 18)[:18])


@pytest.mark.parametrize("schedule", ["onecycle", "cosine", "constant"])
def test_a_resumed_run_follows_another_learning_rate(schedule: Kind, tmp_path: Path) -> None:
    """Twice the rate in every step that is left: schedules are proportional to their highest one."""

    class Saves(pl.Callback):
        def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 10:
                trainer.save_checkpoint(tmp_path / "x.ckpt", weights_only=False)

    _, whole, _ = fit(tmp_path, schedule, Saves())
    net, rates = MLP((1, 8, 8), 10, schedule=schedule, learning_rate=0.008), Rates()
    trainer = pl.Trainer(max_epochs=2, logger=False, default_root_dir=tmp_path, callbacks=[rates], **QUIET)
    trainer.fit(net, Digits(size=8, batch_size=64), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert rates.seen == pytest.approx([2 * rate for rate in whole[10:]])
