"""What every callback of ours must do around a module that knows nothing of mcubench."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from mcubench import callbacks
from tests.foreign import MyData, MyNet


def fit(
    root: Path, added: list[pl.Callback], epochs: int = 2, ckpt_path: Path | None = None
) -> tuple[MyNet, pl.Trainer]:
    pl.seed_everything(0, verbose=False)
    model = MyNet()
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
    trainer.fit(model, MyData(), ckpt_path=ckpt_path, weights_only=True)
    return model, trainer


@pytest.mark.parametrize("name", [name for name in callbacks.__all__ if name != "QuantizationAwareTraining"])
def test_training_is_not_changed(name: str, tmp_path: Path) -> None:
    """But for the callback that is there to change it."""
    plain, _ = fit(tmp_path / "plain", [])
    watched, _ = fit(tmp_path / "watched", [getattr(callbacks, name)()])
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))


@pytest.mark.parametrize("name", callbacks.__all__)
class TestContract:
    def test_the_module_stays_as_it_was(self, name: str, tmp_path: Path) -> None:
        plain, _ = fit(tmp_path / "plain", [])
        watched, _ = fit(tmp_path / "watched", [getattr(callbacks, name)()])
        assert plain.state_dict().keys() == watched.state_dict().keys()
        for hooks in ("_forward_hooks", "_forward_pre_hooks"):
            assert len(getattr(watched, hooks)) == len(getattr(plain, hooks))

    def test_its_state_loads_without_running_code_and_resumes(self, name: str, tmp_path: Path) -> None:
        _, trainer = fit(tmp_path, [getattr(callbacks, name)()])
        path = tmp_path / "saved.ckpt"
        trainer.save_checkpoint(path, weights_only=False)
        torch.load(path, weights_only=True)
        _, resumed = fit(tmp_path / "resumed", [getattr(callbacks, name)()], epochs=3, ckpt_path=path)
        assert resumed.current_epoch == 3
        assert resumed.global_step == 30

    def test_it_serves_two_fits(self, name: str, tmp_path: Path) -> None:
        callback = getattr(callbacks, name)()
        fit(tmp_path / "first", [callback])
        _, trainer = fit(tmp_path / "second", [callback])
        assert trainer.global_step == 20

    def test_fast_dev_run(self, name: str, tmp_path: Path) -> None:
        trainer = pl.Trainer(fast_dev_run=True, accelerator="cpu", enable_progress_bar=False, default_root_dir=tmp_path,
                             callbacks=[getattr(callbacks, name)()])  # fmt: skip
        trainer.fit(MyNet(), MyData())
        assert list(tmp_path.rglob("*.ckpt")) == []
