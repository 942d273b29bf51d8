"""Batches for several seeds at once: each seed's own order of the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.loader import EpochPermutation, TensorLoader

__all__ = ["StackedData", "StackedLoader"]


class StackedLoader(TensorLoader):
    """A `TensorLoader` whose batches have a leading dimension for the seeds, each in the order of its own loader.

    Args:
        tensors: Tensors of samples, as `TensorLoader` takes them.
        batch_size: Samples a batch of one seed; the last may be smaller.
        seeds: The seed of each order.
    """

    def __init__(self, *tensors: Tensor, batch_size: int, seeds: Sequence[int]) -> None:
        super().__init__(*tensors, batch_size=batch_size, seed=seeds[0])
        self._permutations = [EpochPermutation(len(tensors[0]), seed) for seed in seeds]

    def _selection(self) -> Any:
        """The function that cuts samples ``[a, b)`` of every seed's order, each tensor of shape (seeds, b - a, ...)."""
        for permutation in self._permutations:
            permutation.set_epoch(self.sampler.epoch)
        orders = torch.stack([each.order() for each in self._permutations]).to(self.tensors[0].device)
        rows = [tensor.flatten(1) if tensor.ndim > 1 else tensor for tensor in self.tensors]  # gathered faster

        def select(a: int, b: int) -> tuple[Tensor, ...]:
            indices = orders[:, a:b].reshape(-1)
            return tuple(
                row.index_select(0, indices).view(len(orders), b - a, *tensor.shape[1:])
                for row, tensor in zip(rows, self.tensors, strict=True)
            )

        return select


class StackedData(pl.LightningDataModule):
    """A data module's batches for several seeds: training batches stacked, validation batches one for all.

    Args:
        data: The data module.
        seeds: ``seed_everything`` of each run; their batch orders follow it unless the data module has its own seed.
    """

    def __init__(self, data: TensorDataModule, seeds: Sequence[int]) -> None:
        super().__init__()
        self.data = data
        self.seeds = list(seeds) if data.seed is None else [data.seed] * len(seeds)
        self._training: StackedLoader | None = None

    @property
    def class_weights(self) -> Tensor:
        """The weights that make every class count alike, as the data module has them."""
        return self.data.class_weights

    def setup(self, stage: str) -> None:
        """Loads, splits and scales; batches are on the trainer's device."""
        self.data.trainer = self.trainer
        self.data.setup(stage)

    def first_batch(self) -> tuple[Tensor, Tensor]:
        """The same first samples for each seed, (seeds, B, ...)."""
        x, y = (part.expand(len(self.seeds), *part.shape) for part in self.data.first_batch())
        return x.contiguous(), y.contiguous()

    def train_dataloader(self) -> StackedLoader:
        """Shuffled batches of the training part, (seeds, B, ...)."""
        own = self.data.train_dataloader()
        self._training = StackedLoader(*own.tensors, batch_size=own.batch_size, seeds=self.seeds)
        return self._training

    def val_dataloader(self) -> TensorLoader:
        """Batches of the validation part in order, (B, ...)."""
        return self.data.val_dataloader()

    def state_dict(self) -> dict[str, Any]:
        """Where the training batches stand, in the form in which the data module has it."""
        return {} if self._training is None else {"training": self._training.state_dict()}
