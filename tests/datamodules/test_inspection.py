"""Other people's loaders, with one mistake each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, SubsetRandomSampler, TensorDataset

from mcubench.datamodules.inspection import problem_of_loader
from mcubench.errors import UserError
from mcubench.models import MLP

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(50) % 3


class OneByOne(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield torch.full((2, 4), torch.nan), torch.tensor([9, 9])


def with_nan() -> Tensor:
    x = X.clone()
    x[41, 2] = torch.nan
    return x


def problem(loader: object) -> str | None:
    return problem_of_loader(loader, 3, lambda batch: batch)


@pytest.mark.parametrize("dataset", [TensorDataset, OneByOne])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (with_nan(), Y, "sample 41 has NaN"),
        (X / 0, Y, "sample 0 has NaN or infinity"),
        (X, torch.where(torch.arange(50) == 30, 3, Y), "labels must be 0 to 2; sample 30 has 3"),
        (X, Y - 1, "sample 0 has -1"),
        (X, Y.float(), "labels must be integers"),
        (X, Y[:, None], r"a class for each sample"),
        (X[:0], Y[:0], "gives no batches: its data set has 0 samples"),
    ],
)
def test_the_first_sample_at_fault_is_named(dataset: Any, x: Tensor, y: Tensor, message: str) -> None:
    found = problem(DataLoader(dataset(x, y), batch_size=7))
    assert found is not None
    assert message in found


def test_good_data_pass_and_what_can_be_read_once_is_left_alone() -> None:
    assert problem(DataLoader(TensorDataset(X, Y), batch_size=7, shuffle=True)) is None
    assert problem(DataLoader(OneByOne(X, Y), batch_size=7, shuffle=True)) is None
    assert problem(DataLoader(Endless(), batch_size=None)) is None
    assert problem(None) is None


def test_samples_that_a_sampler_leaves_out_are_not_looked_at() -> None:
    assert problem(DataLoader(TensorDataset(with_nan(), Y), sampler=SubsetRandomSampler(range(40)))) is None


def fit(loader: object, **options: Any) -> None:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "max_epochs": 1}
    trainer = pl.Trainer(accelerator="cpu", enable_model_summary=False, **quiet, **options)  # type: ignore[arg-type]
    trainer.fit(MLP((4,), 3), loader)


def test_a_fit_is_refused_before_its_first_batch() -> None:
    with pytest.raises(UserError, match=r"train_dataloader gives what can't be trained on: .* sample 41 has NaN"):
        fit(DataLoader(TensorDataset(with_nan(), Y), batch_size=7))


def test_labels_of_a_stream_are_named_when_they_come() -> None:
    with pytest.raises(UserError, match="labels must be 0 to 2; sample 0 has 9"):
        fit(DataLoader(Endless(), batch_size=None), limit_train_batches=3)
