"""Stacked batches against the batches of each seed's own `TensorLoader`."""

from __future__ import annotations

import pytest
import torch

from mcubench.datamodules.loader import TensorLoader
from mcubench.seeds import StackedLoader

X, Y = torch.arange(46.0).view(23, 2), torch.arange(23)


@pytest.mark.parametrize("epoch", [0, 3])
def test_each_seed_has_its_own_order(epoch: int) -> None:
    seeds = (5, 6, 7)
    stacked = StackedLoader(X, Y, batch_size=5, seeds=seeds)
    singles = [TensorLoader(X, Y, batch_size=5, seed=seed) for seed in seeds]
    for loader in (stacked, *singles):
        loader.sampler.set_epoch(epoch)
    batches = list(stacked)
    assert len(batches) == len(stacked) == 5
    for batch, *own in zip(batches, *singles, strict=True):
        for tensors, expected in zip(batch, zip(*own, strict=True), strict=True):
            assert torch.equal(tensors, torch.stack(expected))
    assert [len(x[0]) for x, _ in batches] == [5, 5, 5, 5, 3]


def test_it_goes_on_where_its_state_was_taken() -> None:
    whole = StackedLoader(X, Y, batch_size=5, seeds=(1, 2))
    again = StackedLoader(X, Y, batch_size=5, seeds=(1, 2))
    batches = iter(whole)
    next(batches)
    next(batches)
    again.load_state_dict(whole.state_dict())
    for (x, y), (x_again, y_again) in zip(batches, again, strict=True):
        assert torch.equal(x, x_again)
        assert torch.equal(y, y_again)
