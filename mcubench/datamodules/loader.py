"""Batches cut from tensors in memory.

A ``DataLoader`` fetches sample by sample and collates; for a tiny model that costs more than the training itself.
`TensorLoader` makes a batch with one ``index_select`` (shuffled) or one copied slice (in order).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler, SequentialSampler

__all__ = ["EpochPermutation", "TensorLoader"]


class EpochPermutation(Sampler[int]):
    """A new order every epoch, a pure function of (seed, epoch), so that any epoch can be replayed.

    It draws nothing from the global random state.

    Args:
        size: Number of samples.
        seed: Seed of all orders.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        return iter(self.order().tolist())

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch whose order comes next; Lightning calls it at every epoch's start."""
        self.epoch = epoch

    def order(self) -> Tensor:
        """The order of this epoch: a permutation of ``0 .. size-1``, int64, on the CPU."""
        # SeedSequence mixes the pair, so that (seed 0, epoch 1) and (seed 1, epoch 0) have nothing in common.
        mixed = int(np.random.SeedSequence([self.seed, self.epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
        return torch.randperm(self.size, generator=torch.Generator().manual_seed(mixed))


class InOrder(SequentialSampler):
    """The order of the data, in every epoch; like `EpochPermutation` it knows which epoch it is.

    Args:
        size: Number of samples.
    """

    def __init__(self, size: int) -> None:
        super().__init__(range(size))
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Notes the epoch; the order stays the same."""
        self.epoch = epoch


class TensorLoader:
    """Iterates over batches of tensors that share their first dimension.

    It has the interface that Lightning expects of a loader (length, ``sampler.set_epoch``, ``state_dict``), so that
    epochs are shuffled anew and training resumes in the middle of an epoch at the very next batch. Lightning shards
    real ``DataLoader``s only, so it also shards itself: shards are disjoint, together complete (nothing is repeated
    to fill up), and have the same number of batches, as collective operations need.

    Args:
        tensors: Tensors of N samples each, on the device where batches are wanted.
        batch_size: Samples a batch; the last may be smaller.
        seed: Shuffles with this seed; ``None`` keeps the order.
        rank: Which shard this process reads.
        world_size: Number of shards.

    Raises:
        ValueError: If sizes differ, samples are too few to share, or a number is out of range.
    """

    def __init__(
        self, *tensors: Tensor, batch_size: int, seed: int | None = None, rank: int = 0, world_size: int = 1
    ) -> None:
        sizes = {len(tensor) for tensor in tensors}
        if len(sizes) != 1:
            raise ValueError(f"tensors of one loader need the same number of samples, got {sorted(sizes)}")
        (size,) = sizes
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank must be in 0 .. {world_size - 1}, got {rank}")
        if size < world_size:
            raise ValueError(f"{size} samples can't be shared by {world_size} processes")
        self.tensors = tensors
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.sampler: EpochPermutation | InOrder = InOrder(size) if seed is None else EpochPermutation(size, seed)
        self.batch_sampler = None  # Lightning looks for it beside `sampler`
        self._bounds = _batch_bounds(size, batch_size, rank, world_size)
        self._next = 0  # the batch that comes next, for state_dict
        self._resume: dict[str, int] | None = None  # where the next pass starts, if it is of that epoch

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        # The order is drawn at the first batch, not here: Lightning calls iter() before it sets the epoch.
        resume, self._resume = self._resume, None
        start = resume["next_batch"] if resume and resume["epoch"] == self.sampler.epoch else 0
        select = self._selection()
        for batch in range(start, len(self)):
            self._next = batch + 1
            yield select(self._bounds[batch], self._bounds[batch + 1])

    def _selection(self) -> Any:
        """The function that cuts samples ``[a, b)`` of this shard, in this epoch's order."""
        tensors = self.tensors
        if isinstance(self.sampler, EpochPermutation):
            order = self.sampler.order()[self.rank :: self.world_size].to(tensors[0].device)
            return lambda a, b: tuple(tensor.index_select(0, order[a:b]) for tensor in tensors)
        shard = tuple(tensor[self.rank :: self.world_size] for tensor in tensors)
        # Copies, as a forward may work in place on what it is given.
        return lambda a, b: tuple(tensor[a:b].clone() for tensor in shard)

    def state_dict(self) -> dict[str, int]:
        """Where this loader stands: the epoch, and the number of batches handed out in it."""
        return {"epoch": self.sampler.epoch, "next_batch": self._next % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Makes the next pass start where `state` was taken, if it is of the same epoch; a later one starts anew."""
        self._resume = dict(state)


def _batch_bounds(size: int, batch_size: int, rank: int, world_size: int) -> list[int]:
    """Positions in this rank's shard at which batches begin and end; equally many on every rank."""
    shard = len(range(rank, size, world_size))
    largest_shard = -(-size // world_size)
    batches = -(-largest_shard // batch_size)
    if size // world_size < batches:  # on every rank alike, so that all of them stop
        raise ValueError(
            f"{size} samples in batches of {batch_size} can't give {world_size} processes equally many batches; use a "
            "batch_size of at least 2"
        )
    if shard > (batches - 1) * batch_size:
        return [*range(0, shard, batch_size), shard]
    # This shard is one sample short of the largest, and full batches would leave it a batch short: even them out.
    return [shard * batch // batches for batch in range(batches + 1)]
