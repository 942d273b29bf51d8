"""Averaged weights: means by hand are the reference, and what Lightning's callbacks leave in files and modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_avg_fn, get_ema_multi_avg_fn

from mcubench.callbacks import EpochTimer, LastCheckpoint, RandomState
from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import DSCNN, MLP
from mcubench.training.averaging import _decay, mostly_untrained
from tests.foreign import MyData, MyNet
from tests.training.journal import QUIET


def net() -> MLP:
    pl.seed_everything(0, verbose=False)
    return MLP((1, 8, 8), 10, hidden=[8], schedule="constant")


def with_batch_norm() -> DSCNN:
    pl.seed_everything(0, verbose=False)
    return DSCNN((1, 8, 8), 10, channels=4, blocks=1, schedule="constant")


class Starts(pl.Callback):
    """The parameters at the start of each epoch, which StochasticWeightAveraging takes the mean of."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seen.append(vector(pl_module))


def vector(module: nn.Module) -> Tensor:
    return torch.cat([each.detach().flatten().clone() for each in module.parameters()])


def accuracy(module: nn.Module) -> float:
    x, y = (torch.tensor(part) for part in Digits(size=8).arrays("val"))
    return float((module.eval()(x).argmax(1) == y).float().mean())


def fit(root: Path, model: Any, *callbacks: pl.Callback, ckpt_path: Path | None = None, **options: Any) -> pl.Trainer:
    quiet = {**QUIET, "enable_checkpointing": True}
    trainer = pl.Trainer(
        **{"max_epochs": 4, "logger": False, "default_root_dir": root, **quiet, **options}, callbacks=[*callbacks]
    )
    data = MyData() if isinstance(model, MyNet) else Digits(size=8)
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return trainer


def swa(start: int = 2) -> StochasticWeightAveraging:
    return StochasticWeightAveraging(5e-3, swa_epoch_start=start)


def saved(root: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(root / "checkpoints" / name, weights_only=True)
    return found


class TestStochasticWeightAveraging:
    @pytest.mark.parametrize("make", [net, with_batch_norm])
    def test_the_average_is_in_a_file_and_the_last_state_in_another(self, make: Any, tmp_path: Path) -> None:
        starts, timer, model = Starts(), EpochTimer(), make()
        fit(tmp_path, model, swa(), starts, LastCheckpoint(), timer)
        expected = torch.stack(starts.seen[1:4]).mean(0)
        assert torch.allclose(vector(model), expected, atol=1e-6)
        averaged = saved(tmp_path, "averaged.ckpt")["state_dict"]
        assert all(torch.equal(averaged[name], value) for name, value in model.state_dict().items())
        last = saved(tmp_path, "last.ckpt")
        assert not torch.allclose(
            torch.cat([last["state_dict"][n].flatten() for n, _ in model.named_parameters()]), expected
        )
        assert last["epoch"] == 3
        assert len(timer.epochs) == 4, "the pass for running statistics trains nothing"

    def test_running_statistics_are_those_of_averaged_weights(self, tmp_path: Path) -> None:
        """A cumulative mean over the batches of one pass, counted anew with the weights that were saved."""
        model = with_batch_norm()
        fit(tmp_path, model, swa(), LastCheckpoint())
        again = with_batch_norm()
        again.load_state_dict(saved(tmp_path, "averaged.ckpt")["state_dict"])
        data = Digits(size=8)
        loader = data.train_dataloader()
        loader.sampler.set_epoch(4)
        torch.optim.swa_utils.update_bn(loader, again)
        for name, value in again.state_dict().items():
            if "running" in name:
                assert torch.allclose(value, model.state_dict()[name], rtol=1e-4, atol=1e-5), name

    @pytest.mark.parametrize("make", [net, with_batch_norm])
    @pytest.mark.parametrize("stop", [1, 3])
    def test_resumed_it_ends_with_the_same_average(self, make: Any, stop: int, tmp_path: Path) -> None:
        whole = make()
        fit(tmp_path / "whole", whole, swa(), LastCheckpoint(), RandomState())

        class Die(pl.Callback):
            def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                if trainer.current_epoch == stop:
                    raise RuntimeError("died")

        with pytest.raises(RuntimeError, match="died"):
            fit(tmp_path, make(), swa(), LastCheckpoint(), RandomState(), Die())
        resumed = make()
        fit(tmp_path, resumed, swa(), LastCheckpoint(), RandomState(), ckpt_path=tmp_path / "checkpoints" / "last.ckpt")
        for name, value in whole.state_dict().items():
            assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6), name

    def test_one_that_never_starts_is_refused(self, tmp_path: Path) -> None:
        """Lightning would leave the weights that the module had before the fit."""
        with pytest.raises(UserError, match=r"starts in epoch 9 \(swa_epoch_start\), and the fit has 4"):
            fit(tmp_path, net(), swa(9), LastCheckpoint())

    def test_one_that_is_stopped_early_leaves_no_average(self, tmp_path: Path) -> None:
        stop = EarlyStopping("val/accuracy", mode="max", patience=1, min_delta=1.0)
        trainer = fit(tmp_path, net(), swa(1), LastCheckpoint(), stop, max_epochs=9)
        assert trainer.current_epoch < 9
        assert not (tmp_path / "checkpoints" / "averaged.ckpt").exists()

    def test_without_it_there_is_no_such_file(self, tmp_path: Path) -> None:
        fit(tmp_path, net(), LastCheckpoint(), max_epochs=1)
        assert [path.name for path in (tmp_path / "checkpoints").glob("[al]*.ckpt")] == ["last.ckpt"]


class TestWeightAveraging:
    def test_the_last_checkpoint_has_what_the_fit_ends_with(self, tmp_path: Path) -> None:
        model = with_batch_norm()
        fit(tmp_path, model, EMAWeightAveraging(decay=0.9), LastCheckpoint())
        last = saved(tmp_path, "last.ckpt")["state_dict"]
        assert all(torch.equal(last[name], value) for name, value in model.state_dict().items())

    def test_an_average_of_untrained_weights_is_refused(self, tmp_path: Path) -> None:
        """0.999 to the power of 143, of 4 epochs of 36 steps, is 0.867; 0.9683 to that power is 0.01."""
        with pytest.raises(
            UserError,
            match=r"EMAWeightAveraging averages from the first step on, and with a decay of 0\.999 144 steps leave "
            r"87 % .* at most 0\.968 leaves 1 %",
        ):
            fit(tmp_path, with_batch_norm(), EMAWeightAveraging())

    def test_one_that_forgets_them_classifies_as_the_last_weights_do(self, tmp_path: Path) -> None:
        """The share that is allowed costs little; ten times as much costs more than a tenth."""

        class Last(pl.Callback):
            def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                self.accuracy = accuracy(pl_module)

        found = {}
        for decay in (0.968, 0.984):
            pl.seed_everything(0, verbose=False)
            model, last = DSCNN((1, 8, 8), 10, channels=16, blocks=2, schedule="constant"), Last()
            model.on_train_start = lambda: None  # type: ignore[method-assign]  # which would refuse the larger one
            fit(tmp_path, model, last, EMAWeightAveraging(decay=decay))
            found[decay] = last.accuracy - accuracy(model)
        assert found[0.968] < 0.05
        assert found[0.984] > 0.1

    @pytest.mark.parametrize(
        ("averaging", "decay"),
        [
            (EMAWeightAveraging(decay=0.97), 0.97),
            (WeightAveraging(avg_fn=get_ema_avg_fn(0.5)), 0.5),
            (WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(0.25)), 0.25),
            (WeightAveraging(), None),
        ],
    )
    def test_the_decay_is_measured(self, averaging: WeightAveraging, decay: float | None) -> None:
        found = _decay(averaging)
        assert found == (None if decay is None else pytest.approx(decay))

    @pytest.mark.parametrize(
        ("averaging", "steps", "share"),
        [
            (EMAWeightAveraging(decay=0.99), 101, 37),  # 0.99 ** 100
            (EMAWeightAveraging(decay=0.99), 1001, None),
            (EMAWeightAveraging(decay=0.99, update_every_n_steps=10), 1001, 37),
            (EMAWeightAveraging(decay=0.99, update_starting_at_step=50), 101, None),  # begins with trained weights
            (WeightAveraging(), 3, None),
            (EMAWeightAveraging(decay=0.99), float("inf"), None),
        ],
    )
    def test_shares_by_hand(self, averaging: pl.Callback, steps: float, share: int | None) -> None:
        said = mostly_untrained(pl.Trainer(callbacks=[averaging], logger=False, **QUIET), steps)
        assert (said is None) == (share is None)
        assert said is None or f"leave {share} %" in said

    def test_statistics_that_are_not_averaged_are_refused(self, tmp_path: Path) -> None:
        averaging = EMAWeightAveraging(decay=0.9, use_buffers=False)
        with pytest.raises(UserError, match=r"use_buffers=False\) keeps the running statistics of layers\."):
            fit(tmp_path, with_batch_norm(), averaging, LastCheckpoint())
        fit(tmp_path, net(), EMAWeightAveraging(decay=0.9, use_buffers=False), LastCheckpoint())

    def test_a_foreign_module_is_trained_whatever_its_weights_were_before(self, tmp_path: Path) -> None:
        trainer = fit(tmp_path, MyNet(), EMAWeightAveraging(), LastCheckpoint())
        assert trainer.global_step == 40
