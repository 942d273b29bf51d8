"""What every callback of ours must do around a module that knows nothing of mcubench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from mcubench import callbacks
from mcubench.callbacks.batches import BatchCallback
from tests.foreign import MyData, MyNet

CHANGING = {"Distillation", "ImageAugmentation", "Mixup", "QuantizationAwareTraining", "SignalAugmentation"}


def teacher() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Linear(4, 2)


MADE: dict[str, Callable[[], pl.Callback]] = {
    "Distillation": lambda: callbacks.Distillation(teacher()),
    "ImageAugmentation": lambda: callbacks.ImageAugmentation(shift=1),
    "SignalAugmentation": lambda: callbacks.SignalAugmentation(jitter=1),
}


def made(name: str) -> pl.Callback:
    return MADE.get(name, getattr(callbacks, name))()


class Windows(MyData):
    """The same samples as signals and as images."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape = shape

    def train_dataloader(self) -> DataLoader[Any]:
        x, y = super().train_dataloader().dataset.tensors
        return DataLoader(TensorDataset(x.view(-1, *self.shape), y), batch_size=20, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self.train_dataloader()


class FlatNet(MyNet):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


SHAPES = {"SignalAugmentation": (1, 4), "ImageAugmentation": (1, 2, 2)}


def pair(name: str) -> tuple[MyNet, MyData]:
    """A module and data that know nothing of us, of samples that the callback is for."""
    return (FlatNet(), Windows(*SHAPES[name])) if name in SHAPES else (MyNet(), MyData())


def fit(
    root: Path, name: str, added: list[pl.Callback], epochs: int = 2, ckpt_path: Path | None = None
) -> tuple[MyNet, pl.Trainer]:
    pl.seed_everything(0, verbose=False)
    model, data = pair(name)
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=root,
        logger=False,
        enable_checkpointing=True,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=added,
    )
    trainer.fit(model, data, ckpt_path=ckpt_path, weights_only=True)
    return model, trainer


@pytest.mark.parametrize("name", callbacks.__all__)
def test_training_is_not_changed(name: str, tmp_path: Path) -> None:
    """But for the callbacks that are there to change it."""
    plain, _ = fit(tmp_path / "plain", name, [])
    watched, _ = fit(tmp_path / "watched", name, [made(name)])
    same = all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))
    assert same == (name not in CHANGING)


def test_all_that_change_batches_are_known_to_do_so() -> None:
    found = {name for name in callbacks.__all__ if issubclass(getattr(callbacks, name), BatchCallback)}
    assert found == CHANGING - {"Distillation", "QuantizationAwareTraining"}


@pytest.mark.parametrize("name", callbacks.__all__)
class TestContract:
    def test_the_module_stays_as_it_was(self, name: str, tmp_path: Path) -> None:
        plain, _ = fit(tmp_path / "plain", name, [])
        watched, trainer = fit(tmp_path / "watched", name, [made(name)])
        assert plain.state_dict().keys() == watched.state_dict().keys()
        assert vars(plain).keys() == vars(watched).keys()
        assert "training_step" not in vars(trainer.strategy)
        for hooks in ("_forward_hooks", "_forward_pre_hooks"):
            assert len(getattr(watched, hooks)) == len(getattr(plain, hooks))

    def test_its_state_loads_without_running_code_and_resumes(self, name: str, tmp_path: Path) -> None:
        _, trainer = fit(tmp_path, name, [made(name)])
        path = tmp_path / "saved.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        torch.load(path, weights_only=True)
        _, resumed = fit(tmp_path / "resumed", name, [made(name)], epochs=3, ckpt_path=path)
        assert resumed.current_epoch == 3
        assert resumed.global_step == 30

    def test_it_serves_two_fits(self, name: str, tmp_path: Path) -> None:
        callback = made(name)
        fit(tmp_path / "first", name, [callback])
        _, trainer = fit(tmp_path / "second", name, [callback])
        assert trainer.global_step == 20

    def test_fast_dev_run(self, name: str, tmp_path: Path) -> None:
        trainer = pl.Trainer(fast_dev_run=True, accelerator="cpu", enable_progress_bar=False, default_root_dir=tmp_path,
                             callbacks=[made(name)])  # fmt: skip
        trainer.fit(*pair(name))
        assert list(tmp_path.rglob("*.ckpt")) == []
