"""The layout of weights in training: the reference is the same training in torch's usual layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from mcubench.datamodules import Digits
from mcubench.models import Classifier
from mcubench.training import set_memory_format
from tests.training.journal import QUIET

USUAL = (72, 9, 3, 1)  # of a weight (4, 8, 3, 3), elements between neighbours
CHANNELS_LAST = (72, 1, 24, 8)


class TwoConvolutions(Classifier):
    """The second convolution's weight (4, 8, 3, 3) lies otherwise in each layout."""

    channels_last = True

    def __init__(self, input_shape: Any = (1, 8, 8), num_classes: int = 10, **training: Any) -> None:
        super().__init__(input_shape, num_classes, schedule="constant", **training)
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 4, 3, padding=1)
        self.last = nn.Linear(4 * 64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.second(self.first(x).relu()).relu().flatten(1))


class Layout(pl.Callback):
    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        (optimizer,) = trainer.optimizers
        weight = pl_module.second.weight
        self.seen = [weight.stride(), *(optimizer.state[weight][name].stride() for name in ("exp_avg", "exp_avg_sq"))]


def trained(
    steps: int, path: Path | None = None, saved_in: Path | None = None
) -> tuple[TwoConvolutions, pl.Trainer, Layout]:
    torch.manual_seed(2)
    model, layout = TwoConvolutions(), Layout()
    keep = [] if saved_in is None else [ModelCheckpoint(saved_in, "{step}", every_n_train_steps=4)]
    options = {**QUIET, "enable_checkpointing": bool(keep)}
    trainer = pl.Trainer(max_steps=steps, logger=False, **options, callbacks=[layout, *keep])
    trainer.fit(model, Digits(size=8, seed=3), ckpt_path=path, weights_only=True)
    return model, trainer, layout


def close(one: nn.Module, other: nn.Module) -> bool:
    """Equal but for the order in which convolutions add up."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.allclose(a, b, rtol=1e-3, atol=1e-5) for a, b in pairs)


def test_channels_lie_side_by_side_while_it_trains_and_as_usual_after() -> None:
    model, trainer, layout = trained(3)
    assert layout.seen == [CHANNELS_LAST] * 3
    assert model.second.weight.stride() == USUAL
    state = trainer.optimizers[0].state[model.second.weight]
    assert state["exp_avg"].stride() == USUAL


def test_it_trains_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _ = trained(8)
    monkeypatch.setattr("mcubench.models.base.set_memory_format", lambda *_: None)
    usual, _, layout = trained(8)
    assert layout.seen == [USUAL] * 3
    assert close(model, usual)


@pytest.mark.parametrize("forgets", [False, True])
def test_moments_of_another_layout_are_laid_out_anew(
    forgets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose checkpoint was written in the usual layout goes on as if it had never stopped."""
    whole, _, _ = trained(8)
    trained(4, saved_in=tmp_path)
    path = tmp_path / "step=4.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    moments = checkpoint["optimizer_states"][0]["state"][2]
    assert moments["exp_avg"].stride() == CHANNELS_LAST
    for name in ("exp_avg", "exp_avg_sq"):
        moments[name] = moments[name].contiguous()
    torch.save(checkpoint, path)
    if forgets:

        def weights_only(module: nn.Module, memory_format: torch.memory_format, optimizers: Any) -> None:
            set_memory_format(module, memory_format)

        monkeypatch.setattr("mcubench.models.base.set_memory_format", weights_only)
    resumed, _, _ = trained(8, path)
    assert close(resumed, whole) != forgets


class Viewing(TwoConvolutions):
    """Joins dimensions that lie apart when channels are last, which torch refuses."""

    channels_last = False

    def forward(self, x: Tensor) -> Tensor:
        values = self.second(self.first(x).relu()).relu()
        return self.last(values.view(len(values), -1))


def test_a_classifier_must_ask_for_it() -> None:
    trainer = pl.Trainer(max_steps=2, logger=False, **QUIET)
    trainer.fit(Viewing(), Digits(size=8))
    Viewing.channels_last = True
    try:
        with pytest.raises(RuntimeError, match="view size is not compatible"):
            pl.Trainer(max_steps=2, logger=False, **QUIET).fit(Viewing(), Digits(size=8))
    finally:
        Viewing.channels_last = False


def test_only_convolutions_over_images_are_laid_out() -> None:
    net = nn.Sequential(nn.Conv3d(2, 3, 2), nn.Conv2d(2, 3, 3), nn.Conv1d(2, 3, 2), nn.Linear(2, 3))
    before = [parameter.stride() for parameter in net.parameters()]
    set_memory_format(net, torch.channels_last)
    after = [parameter.stride() for parameter in net.parameters()]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, False, *[True] * 5]
    assert net[1].weight.stride() == (18, 1, 6, 2)  # of (3, 2, 3, 3), by hand
