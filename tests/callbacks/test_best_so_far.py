"""The best starts anew where the model becomes another: hand-made metrics, of which the float ones are the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from mcubench.callbacks import QuantizationAwareTraining
from mcubench.cost import BitWidths
from mcubench.quant.training import find_qat_state
from mcubench.results.best_checkpoint import BestCheckpoint
from tests.callbacks.test_quantization import net, trainer
from tests.foreign import MyData, MyNet


class Scripted(MyNet):
    """Its score falls from epoch to epoch: whatever remembers an earlier one has that for the best."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("score", -float(self.current_epoch))


class Waiting(Scripted):
    """Lowers its rate by ten when the score has not risen for three epochs."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), 0.01)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", 0.1, patience=2, cooldown=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "score"}}


def best_of(root: Path, **options: Any) -> ModelCheckpoint:
    return ModelCheckpoint(root, filename="{epoch}", monitor="score", mode="max", **options)


def epoch_of(best: ModelCheckpoint) -> int:
    return int(Path(best.best_model_path).stem.partition("epoch=")[2].partition("-")[0])


def float_run(root: Path, *callbacks: pl.Callback, epochs: int = 2, model: Any = Scripted, **options: Any) -> Path:
    """A checkpoint of a run in float, with the best epoch that its callbacks remember."""
    running = trainer(root, *callbacks, max_epochs=epochs, enable_checkpointing=True, **options)
    running.fit(net(model), MyData())
    running.save_checkpoint(root / "float.ckpt")
    return root / "float.ckpt"


def go_on(root: Path, path: Path, *callbacks: pl.Callback, epochs: int, model: Any = Scripted, **options: Any) -> Any:
    running = trainer(root, *callbacks, max_epochs=epochs, enable_checkpointing=True, **options)
    running.fit(net(model), MyData(), ckpt_path=path, weights_only=True)
    return running


@pytest.mark.parametrize(("start", "best_epoch"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_the_best_of_a_run_that_goes_on_quantised_is_rounded(tmp_path: Path, start: int, best_epoch: int) -> None:
    path = float_run(tmp_path, best_of(tmp_path))
    best = best_of(tmp_path)
    go_on(tmp_path, path, QuantizationAwareTraining(weight_bits=2, start_epoch=start), best, epochs=5)
    assert epoch_of(best) == best_epoch
    assert best.best_model_score == -best_epoch
    assert find_qat_state(torch.load(best.best_model_path, weights_only=True)) is not None


def test_going_on_in_float_keeps_it(tmp_path: Path) -> None:
    path = float_run(tmp_path, best_of(tmp_path))
    best = best_of(tmp_path)
    go_on(tmp_path, path, best, epochs=4)
    assert epoch_of(best) == 0


def test_going_on_rounded_keeps_it(tmp_path: Path) -> None:
    path = float_run(tmp_path, QuantizationAwareTraining(), best_of(tmp_path))
    best = best_of(tmp_path)
    go_on(tmp_path, path, QuantizationAwareTraining(), best, epochs=4)
    assert epoch_of(best) == 0


def test_our_own_best_and_several_of_a_user(tmp_path: Path) -> None:
    def bests() -> list[ModelCheckpoint]:
        return [
            BestCheckpoint(tmp_path / "ours", "score", "max"),
            best_of(tmp_path / "three", save_top_k=2),
            best_of(tmp_path / "all", save_top_k=-1, every_n_train_steps=5),
        ]

    path = float_run(tmp_path, *bests())
    found = bests()
    go_on(tmp_path, path, QuantizationAwareTraining(), *found, epochs=5)
    for each in found:
        assert each.best_model_score == -2
        kept = [torch.load(file, weights_only=True) for file in each.best_k_models]
        assert all(find_qat_state(checkpoint) is not None for checkpoint in kept)
        assert all(checkpoint["epoch"] >= 2 for checkpoint in kept)


@pytest.mark.parametrize("options", [{}, {"check_val_every_n_epoch": None, "val_check_interval": 10}])
def test_a_metric_from_before_is_none_of_a_rounded_model(tmp_path: Path, options: dict[str, Any]) -> None:
    """A checkpoint between two validations sees the metric of the last one, which was in float."""
    best = best_of(tmp_path, every_n_train_steps=3)
    running = trainer(
        tmp_path, QuantizationAwareTraining(start_epoch=1), best, max_epochs=3, enable_checkpointing=True, **options
    )
    running.fit(net(Scripted), MyData())
    assert best.best_model_score == -1
    assert min(float(each) for each in best.best_k_models.values()) == -1


@pytest.mark.parametrize("resumed", [False, True])
def test_early_stopping_waits_anew(tmp_path: Path, resumed: bool) -> None:
    """Patience is 3: in float it would end the run after epoch 3; rounding begins in epoch 2, so that it is epoch 5."""

    def stop() -> EarlyStopping:
        return EarlyStopping("score", mode="max", patience=3)

    qat = QuantizationAwareTraining(start_epoch=2)
    if resumed:
        running = go_on(tmp_path, float_run(tmp_path, stop()), qat, stop(), epochs=20)
    else:
        running = trainer(tmp_path, qat, stop(), max_epochs=20)
        running.fit(net(Scripted), MyData())
    assert running.current_epoch == 6
    plain = trainer(tmp_path, stop(), max_epochs=20)
    plain.fit(net(Scripted), MyData())
    assert plain.current_epoch == 4


def test_a_plateau_is_waited_for_anew(tmp_path: Path) -> None:
    """Patience is 2: without rounding the rate falls after epoch 3; beginning in epoch 2, after epoch 5."""

    class Rates(pl.Callback):
        def __init__(self) -> None:
            self.seen: list[float] = []

        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])

    for qat, falls_at in (([], 4), ([QuantizationAwareTraining(start_epoch=2)], 6)):
        rates = Rates()
        trainer(tmp_path, *qat, rates, max_epochs=8).fit(net(Waiting), MyData())
        assert rates.seen[:falls_at] == [0.01] * falls_at
        assert rates.seen[falls_at] == pytest.approx(0.001)


class Narrower(pl.Callback):
    """Sets other widths where an epoch begins."""

    def __init__(self, qat: QuantizationAwareTraining) -> None:
        self.qat = qat

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch == 2:
            self.qat.widths = BitWidths(2)


def test_other_widths_make_it_another_model(tmp_path: Path) -> None:
    best, qat = best_of(tmp_path), QuantizationAwareTraining()
    running = trainer(tmp_path, qat, Narrower(qat), best, max_epochs=4, enable_checkpointing=True)
    running.fit(net(Scripted), MyData())
    assert epoch_of(best) == 2
    path = float_run(tmp_path / "eight", QuantizationAwareTraining(), best_of(tmp_path / "eight"))
    best = best_of(tmp_path / "eight")
    with pytest.warns(UserWarning, match="trained with weights 8 bits"):
        go_on(tmp_path / "eight", path, QuantizationAwareTraining(weight_bits=2), best, epochs=4)
    assert epoch_of(best) == 2


def test_a_fit_resumed_in_the_middle_of_its_first_rounded_epoch(tmp_path: Path) -> None:
    """What was forgotten before the checkpoint is not forgotten twice."""

    def callbacks() -> tuple[QuantizationAwareTraining, ModelCheckpoint, ModelCheckpoint]:
        steps = ModelCheckpoint(tmp_path / "steps", filename="{step}", every_n_train_steps=5, save_top_k=-1)
        return QuantizationAwareTraining(start_epoch=1), best_of(tmp_path), steps

    first = callbacks()
    running = trainer(tmp_path, *first, max_epochs=3, enable_checkpointing=True)
    running.fit(net(Scripted), MyData())
    for step in (10, 15, 25):
        again = callbacks()
        go_on(tmp_path, tmp_path / "steps" / f"step={step}.ckpt", *again, epochs=3)
        assert epoch_of(again[1]) == 1, step


def test_a_fit_that_ends_before_says_so(tmp_path: Path) -> None:
    late = QuantizationAwareTraining(start_epoch=3)
    with pytest.warns(
        UserWarning, match=r"ended after 2 epochs, before .* began \(start_epoch 3, from 0\): all of it is"
    ):
        trainer(tmp_path, late).fit(net(), MyData())
    stop = EarlyStopping("my_val_loss", patience=1, min_delta=10.0)
    with pytest.warns(UserWarning, match="ended after 2 epochs, before"):
        trainer(tmp_path, late, stop, max_epochs=9).fit(net(), MyData())
    path = float_run(tmp_path)
    with pytest.warns(UserWarning, match="ended after 2 epochs without training one with"):
        go_on(tmp_path, path, QuantizationAwareTraining(), epochs=2)


def test_a_fit_that_rounds_says_nothing_of_the_kind(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    trainer(tmp_path, QuantizationAwareTraining(start_epoch=1)).fit(net(), MyData())
    assert not any("ended after" in str(each.message) for each in recwarn)
