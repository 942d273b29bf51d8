"""What a trainer's options may be: Lightning's own documentation of each is the reference."""

from __future__ import annotations

from types import SimpleNamespace

import lightning.pytorch as pl
import pytest

from mcubench.datamodules import Digits
from mcubench.errors import UserError
from mcubench.models import MLP
from mcubench.training.ranges import out_of_range

WRONG = [
    *(("accumulate_grad_batches", value) for value in (0, -1)),
    *(("check_val_every_n_epoch", value) for value in (0, -1)),
    *(("num_nodes", value) for value in (0, -1)),
    *((name, -1) for name in ("min_epochs", "min_steps", "log_every_n_steps", "reload_dataloaders_every_n_epochs")),
    *((name, -2) for name in ("max_epochs", "max_steps", "num_sanity_val_steps", "fast_dev_run")),
    *(
        (f"limit_{part}_batches", value)
        for part in ("train", "val", "test", "predict")
        for value in (-1, -0.5, 1.5, float("nan"), float("inf"))
    ),
    *(("overfit_batches", value) for value in (-1, 2.5, float("nan"))),
    *(("gradient_clip_val", value) for value in (-1.0, float("nan"), float("inf"))),
    *(("val_check_interval", value) for value in (0, 0.0, -1, 1.5, float("nan"))),
    *(("devices", value) for value in (0, -3, "0", "-3", "abc", "1.5", "", [], [0, 0], [-1], "0,0", "0,-1", "--3")),
]  # fmt: skip

RIGHT = {
    "accumulate_grad_batches": (1, 8),
    "check_val_every_n_epoch": (None, 1, 3),
    "devices": ("auto", 1, -1, "2", "-1", [0], [0, 2], "0,2"),
    "fast_dev_run": (False, True, 3),
    "gradient_clip_val": (None, 0, 0.5),
    "limit_train_batches": (None, 0, 0.5, 1.0, 7, 7.0),
    "log_every_n_steps": (0, 50),
    "max_epochs": (None, -1, 0, 10),
    "max_steps": (-1, 0, 10),
    "num_sanity_val_steps": (-1, 0, float("inf")),
    "val_check_interval": (None, 0.25, 1.0, 1, 100, "00:01:00:00"),
}


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_what_is_out_of_range_is_named_with_its_value(name: str, value: object) -> None:
    problem = out_of_range(SimpleNamespace(**{name: value}))
    assert problem is not None
    assert problem.startswith(f"{name} must be ")
    assert problem.endswith(f"; got {value}")


@pytest.mark.parametrize(("name", "values"), RIGHT.items())
def test_what_lightning_documents_is_right(name: str, values: tuple[object, ...]) -> None:
    for value in values:
        assert out_of_range(SimpleNamespace(**{name: value})) is None, value


def test_a_trainer_as_lightning_makes_it_is_right() -> None:
    assert out_of_range(pl.Trainer(accelerator="cpu", logger=False, num_sanity_val_steps=-1)) is None


def test_gradient_ascent_is_refused_in_python_too() -> None:
    """Lightning divides the loss by -1, and trains."""
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, accumulate_grad_batches=-1)
    with pytest.raises(UserError, match="accumulate_grad_batches must be a whole number, 1 or more; got -1"):
        trainer.fit(MLP((1, 8, 8), 10), Digits(size=8))
