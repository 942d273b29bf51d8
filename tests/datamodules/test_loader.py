"""TensorLoader against a plain reading of the same data: what comes out, how often, in what order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mcubench.datamodules import TensorLoader

sizes = st.integers(1, 60)


def rows(loader: TensorLoader) -> list[int]:
    return [int(value) for (batch,) in loader for value in batch]


@given(size=sizes, batch_size=st.integers(1, 20))
def test_in_order_it_is_tensor_split(size: int, batch_size: int) -> None:
    data = torch.arange(size)
    batches = [batch for (batch,) in TensorLoader(data, batch_size=batch_size)]
    expected = data.split(batch_size)
    assert len(batches) == len(expected)
    assert all(torch.equal(got, want) for got, want in zip(batches, expected, strict=True))


@given(size=sizes, batch_size=st.integers(1, 20), seed=st.integers(0, 2**63))
def test_shuffled_every_sample_comes_once(size: int, batch_size: int, seed: int) -> None:
    loader = TensorLoader(torch.arange(size), batch_size=batch_size, seed=seed)
    assert sorted(rows(loader)) == list(range(size))
    assert [len(batch) for (batch,) in loader][:-1] == [batch_size] * (len(loader) - 1)


@given(size=st.integers(2, 60), batch_size=st.integers(1, 20), world_size=st.integers(2, 5), shuffled=st.booleans())
def test_shards_are_disjoint_complete_and_equally_long(
    size: int, batch_size: int, world_size: int, shuffled: bool
) -> None:
    size, seed = max(size, world_size), 1 if shuffled else None
    assume(batch_size > 1 or size % world_size == 0)
    loaders = [
        TensorLoader(torch.arange(size), batch_size=batch_size, seed=seed, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    batches = [[batch for (batch,) in loader] for loader in loaders]
    assert sorted(int(value) for shard in batches for batch in shard for value in batch) == list(range(size))
    assert len({len(shard) for shard in batches}) == 1
    assert all(1 <= len(batch) <= batch_size for shard in batches for batch in shard)


def test_pairs_stay_together() -> None:
    x = torch.randn(50, 2, 3)
    for x_batch, index in TensorLoader(x, torch.arange(50), batch_size=7, seed=3):
        assert torch.equal(x_batch, x[index])


def test_order_depends_on_seed_and_epoch_and_nothing_else() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        loader = TensorLoader(torch.arange(100), batch_size=10, seed=seed)
        loader.sampler.set_epoch(epoch)
        return rows(loader)

    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    assert torch.equal(torch.get_rng_state(), before)


def test_iter_may_be_called_before_the_epoch_is_set() -> None:
    loader = TensorLoader(torch.arange(30), batch_size=10, seed=0)
    iterator = iter(loader)
    loader.sampler.set_epoch(1)
    first = torch.cat([batch for (batch,) in iterator])
    assert first.tolist() == rows(loader)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_state_continues_at_the_next_batch(stop: int) -> None:
    loader = TensorLoader(torch.arange(35), batch_size=10, seed=5)
    everything = [batch.tolist() for (batch,) in loader]
    iterator = iter(loader)
    for _ in range(stop):
        next(iterator)
    resumed = TensorLoader(torch.arange(35), batch_size=10, seed=5)
    resumed.load_state_dict(loader.state_dict())
    assert [batch.tolist() for (batch,) in resumed] == everything[stop:]
    assert [batch.tolist() for (batch,) in resumed] == everything, "the pass after that is whole again"


def test_state_after_a_whole_pass_starts_a_new_one() -> None:
    loader = TensorLoader(torch.arange(35), batch_size=10)
    rows(loader)
    assert loader.state_dict() == {"epoch": 0, "next_batch": 0}


@pytest.mark.parametrize("seed", [None, 5])
def test_state_of_an_epoch_that_was_cut_short_does_not_cut_the_next(seed: int | None) -> None:
    loader = TensorLoader(torch.arange(35), batch_size=10, seed=seed)
    next(iter(loader))
    resumed = TensorLoader(torch.arange(35), batch_size=10, seed=seed)
    resumed.load_state_dict(loader.state_dict())
    resumed.sampler.set_epoch(1)
    assert len(rows(resumed)) == 35


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": 1, "rank": 2, "world_size": 2}, "rank"),
        ({"batch_size": 1, "world_size": 3}, "batch_size of at least 2"),
        ({"batch_size": 1, "world_size": 9}, "4 samples can't be shared by 9"),
    ],
)
def test_wrong_options(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TensorLoader(torch.arange(4), **options)  # type: ignore[arg-type]


def test_tensors_of_different_sizes() -> None:
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        TensorLoader(torch.arange(4), torch.arange(3), batch_size=1)
