"""Seeds trained at once, and each of them alone, in Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightning.pytorch as pl
import torch

from mcubench.datamodules import Digits, TensorDataModule
from mcubench.models import Classifier
from mcubench.seeds import StackedClassifiers, StackedData

Make = Callable[[], Classifier]


def fitted(module: pl.LightningModule, data: pl.LightningDataModule, epochs: int = 2, **options: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        num_sanity_val_steps=0,
        enable_model_summary=False,
        **{**quiet, **options},
    )
    trainer.fit(module, data)
    return trainer


def made(make: Make, seed: int) -> Classifier:
    """A model as its own run makes it."""
    pl.seed_everything(seed, workers=True, verbose=False)
    return make()


def alone(make: Make, seed: int, data: TensorDataModule, epochs: int = 2) -> tuple[Classifier, pl.Trainer]:
    """A seed's own run: the batch order follows the global seed, unless the data module has one."""
    model = made(make, seed)
    return model, fitted(model, data, epochs)


def together(
    make: Make, seeds: Sequence[int], data: TensorDataModule, epochs: int = 2, kind: type = StackedClassifiers
) -> tuple[list[Classifier], pl.Trainer]:
    """The models of all seeds, trained at once."""
    models = [made(make, seed) for seed in seeds]
    joint = kind(models, seeds)
    trainer = fitted(joint, StackedData(data, seeds), epochs)
    for index, model in enumerate(models):
        joint.stack.copy_to(model, index)
    return models, trainer


def largest_difference(a: torch.nn.Module, b: torch.nn.Module) -> float:
    """Over all parameters, the largest difference in units of the parameter's largest value."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return max(float((p - q).detach().abs().max() / q.detach().abs().max()) for p, q in pairs)


def digits(**options: Any) -> Digits:
    return Digits(size=8, **options)
