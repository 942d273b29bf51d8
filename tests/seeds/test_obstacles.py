"""What can't be stacked, one mistake each; the reference is the reason that its author would give."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import nn

from mcubench.baselines import DecisionTree
from mcubench.datamodules import MNIST, Digits
from mcubench.models import CNN, DSCNN, MLP, CNN1d
from mcubench.seeds import obstacle_in_data, obstacle_in_models
from tests.foreign import MyData
from tests.seeds.training import digits, made


class Penalised(MLP):
    """Its loss has a term of its own parameters, which are other ones for each seed."""

    def loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return super().loss(logits, target) + sum(each.abs().mean() for each in self.parameters())


class Hooked(MLP):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        next(self.parameters()).register_hook(lambda gradient: 0 * gradient)


class SetLate(MLP):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.training_step = super().training_step  # type: ignore[method-assign]


class Guessing(MLP):
    """Drops values when it is measured, not when it trains."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, 0.2, not self.training))


class Dropping(MLP):
    """Draws random numbers in forward, without a module that says so."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(nn.functional.dropout(x, 0.2, self.training))


class Normed(MLP):
    """Has batch norm."""

    def __init__(self, *args: Any, **training: Any) -> None:
        super().__init__(*args, **training)
        self.layers.append(nn.BatchNorm1d(10))


class Stepping(MLP):
    """Has a training step of its own."""

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        return 2 * super().training_step(batch, batch_idx)


class Branching(MLP):
    """Looks at values, which a stack can't do for each model."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x if x.mean() > self.layers[1].weight.sum() else -x)


class Recurrent(MLP):
    """Has a layer that may have no rule for stacks."""

    def __init__(self, *args: Any, **training: Any) -> None:
        super().__init__(*args, **training)
        self.lstm = nn.LSTM(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x[:, 0].transpose(0, 1))[0][-1]


class Noisy(Digits):
    """Draws random numbers when it is set up."""

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        np.random.rand()  # noqa: NPY002


class Reversed(Digits):
    """Has batches of its own."""

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return batch[0].flip(0), batch[1].flip(0)


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        (MLP, {}, None),
        (DecisionTree, {}, "DecisionTree is no Classifier"),
        (CNN, {"channels": 2}, "convolutions are not faster stacked"),
        (DSCNN, {"channels": 2, "dropout": 0.1}, "DSCNN draws random numbers in forward, as dropout does"),
        (DSCNN, {"channels": 2, "dropout": 0.0}, "DSCNN changes its buffers in forward, as batch norm does"),
        (Dropping, {}, "Dropping draws random numbers in forward, as dropout does"),
        (Normed, {}, "Normed changes its buffers in forward, as batch norm does"),
        (Stepping, {}, "Stepping has its own training_step"),
        (Penalised, {}, "Penalised stacked gives other outputs or losses"),
        (Hooked, {}, "Hooked has hooks on its gradients"),
        (SetLate, {}, "SetLate sets its own training_step"),
        (Guessing, {}, "Guessing draws random numbers in forward, as dropout does"),
        (Branching, {}, "Branching can't be stacked"),
        (Recurrent, {}, "Recurrent"),
    ],
)
def test_models(kind: type[pl.LightningModule], options: dict[str, Any], reason: str | None) -> None:
    models = [made(lambda: kind(input_shape=(1, 8, 8), num_classes=10, **options), seed) for seed in range(2)]
    before = [[each.clone() for each in (*model.parameters(), *model.buffers())] for model in models]
    state = torch.get_rng_state()
    found = obstacle_in_models(models)
    assert found is None if reason is None else str(found).startswith(reason)
    assert torch.equal(torch.get_rng_state(), state) or found is not None, "its own run would draw on from here"
    after = [[*model.parameters(), *model.buffers()] for model in models]
    assert all(torch.equal(a, b) for pair in zip(before, after, strict=True) for a, b in zip(*pair, strict=True))


def test_convolutions_over_time() -> None:
    assert "convolutions" in str(obstacle_in_models([CNN1d((3, 16), 4), CNN1d((3, 16), 4)]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (digits(), None),
        (Noisy(size=8), "Noisy draws random numbers when it is set up"),
        (Reversed(size=8), "Reversed has its own on_after_batch_transfer"),
        (MyData(), "the order of MyData's batches is not known: it is no TensorDataModule"),
        (None, "the model brings its own data"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else None,
)
def test_data(data: pl.LightningDataModule | None, reason: str | None) -> None:
    assert obstacle_in_data(data) == reason


@pytest.mark.real_data
def test_the_real_data_modules_can_be_stacked(real_data: Any) -> None:
    assert obstacle_in_data(MNIST(root=real_data)) is None
