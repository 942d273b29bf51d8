"""A module and its data that know nothing of mcubench, as they stand in other people's files."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


def loader(shuffle: bool = False) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(200, 4, generator=generator)
    return DataLoader(TensorDataset(x, (x[:, 0] > x[:, 1]).long()), batch_size=20, shuffle=shuffle)


class MyData(pl.LightningDataModule):
    num_classes = 2

    def train_dataloader(self) -> DataLoader[Any]:
        return loader(shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return loader()


class MyNet(pl.LightningModule):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        x, y = batch
        self.log("my_val_loss", nn.functional.cross_entropy(self(x), y))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)


class MyNetWithData(MyNet):
    def train_dataloader(self) -> DataLoader[Any]:
        return loader(shuffle=True)


class MyHooks(MyData):
    """Flips labels in a transfer hook: a score that bypasses the hook is wrong on every sample."""

    def on_after_batch_transfer(self, batch: tuple[Tensor, Tensor], dataloader_idx: int) -> tuple[Tensor, Tensor]:
        return batch[0], 1 - batch[1]


class MyStages(MyData):
    """Prepares its test set where Lightning's own examples do."""

    def setup(self, stage: str) -> None:
        if stage == "test":
            self.test_set = loader()

    def test_dataloader(self) -> DataLoader[Any]:
        return self.test_set


class MyTwoInputs(MyNet):
    """A forward that takes more than x."""

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.net(x * mask)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        x, y = batch
        return nn.functional.cross_entropy(self(x, torch.ones_like(x)), y)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Nothing to validate."""


class MyObjects(MyNet):
    """Puts an object into its checkpoints that does not load with weights_only."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["when"] = Fraction(1, 3)


class MyParts(MyNet):
    """Is made of options that have no defaults."""

    def __init__(self, part: nn.Module, lr: float) -> None:
        super().__init__()
        self.part = part
