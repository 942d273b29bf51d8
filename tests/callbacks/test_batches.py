"""Callbacks that change batches: what a module is given, against what the loader gave and what was asked for."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mcubench.callbacks import ImageAugmentation, LastCheckpoint, Mixup, RandomState, SignalAugmentation
from mcubench.callbacks.batches import BatchCallback
from mcubench.datamodules import TensorDataModule
from mcubench.datamodules.arrays import Arrays
from mcubench.errors import UserError
from mcubench.models import MLP
from tests.callbacks.test_resume import Stop, StopError

CLASSES = 3


class Recording(pl.LightningModule):
    """A module that knows nothing of mcubench; keeps what its steps were given."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(size, CLASSES))
        self.given: dict[str, list[Any]] = {"train": [], "val": []}

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.given["train"].append(batch)
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.given["val"].append(batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def samples(*shape: int, count: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *shape, generator=generator), torch.arange(count) % CLASSES


def fit(
    root: Path, callbacks: list[pl.Callback], loader: Any, size: int, *, epochs: int = 2, **options: Any
) -> Recording:
    pl.seed_everything(options.pop("seed", 0), verbose=False)
    module = Recording(size)
    ckpt_path = options.pop("ckpt_path", None)
    keeps = any(isinstance(each, LastCheckpoint) for each in callbacks)
    trainer = pl.Trainer(
        **{"max_epochs": epochs, "accelerator": "cpu", "logger": False, "enable_checkpointing": keeps}
        | {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
        | {"default_root_dir": root, "callbacks": callbacks, **options}
    )
    trainer.fit(module, loader, loader, ckpt_path=ckpt_path, weights_only=True)
    return module


def images() -> DataLoader[Any]:
    return DataLoader(TensorDataset(*samples(1, 6, 6)), batch_size=8)


class SameBatches:
    """A loader that gives the same tensors again in each epoch."""

    def __init__(self, *batches: tuple[Tensor, Tensor]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def given(module: Recording, stage: str = "train") -> Tensor:
    return torch.cat([batch[0] for batch in module.given[stage]])


@pytest.mark.parametrize(
    ("callback", "shape"),
    [
        (ImageAugmentation(shift=2), (1, 6, 6)),
        (ImageAugmentation(elastic=1, smoothness=2), (1, 6, 6)),
        (SignalAugmentation(rotate=30), (3, 12)),
        (SignalAugmentation(time_warp=0.3), (3, 12)),
        (SignalAugmentation(magnitude=0.3), (3, 12)),
        (SignalAugmentation(jitter=0.3), (3, 12)),
        (Mixup(1.0), (5,)),
    ],
)
def test_training_sees_other_samples_in_each_epoch_and_validation_the_loaders(
    callback: BatchCallback, shape: tuple[int, ...], tmp_path: Path
) -> None:
    x, y = samples(*shape)
    batches = SameBatches(*zip(x.split(8), y.split(8), strict=True))
    kept = x.clone(), y.clone()
    module = fit(tmp_path, [callback], batches, x[0].numel())
    first, second = given(module).split(24)
    changed = [each for each, as_it_was in zip(first, x, strict=True) if not torch.equal(each, as_it_was)]
    assert len(changed) >= 15  # a permutation leaves one of a batch where it is, in the mean
    assert not torch.equal(first, second)
    assert torch.equal(given(module, "val"), torch.cat([x, x]))
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    assert all(each[0].dtype == torch.float32 and each[1].dtype == torch.int64 for each in module.given["train"])


def test_draws_depend_on_seed_epoch_and_batch_alone(tmp_path: Path) -> None:
    """Not on what else draws: the state of torch's generator after a fit is that of a fit without the callback."""
    plain = fit(tmp_path, [], images(), 36)
    state = torch.get_rng_state()
    one, two = (fit(tmp_path, [ImageAugmentation(shift=2)], images(), 36) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(given(one), given(two))
    other = fit(tmp_path, [ImageAugmentation(shift=2)], images(), 36, seed=1)
    assert not torch.equal(given(one), given(other))
    fixed = [fit(tmp_path, [ImageAugmentation(shift=2, seed=7)], images(), 36, seed=seed) for seed in (0, 1)]
    assert torch.equal(given(fixed[0]), given(fixed[1]))
    assert not torch.equal(given(plain), given(one))


class Double(BatchCallback):
    def changed(self, x: Tensor, y: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        return 2 * x, y


class AddOne(BatchCallback):
    def changed(self, x: Tensor, y: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        return x + 1, y


def test_several_change_a_batch_in_their_order(tmp_path: Path) -> None:
    x, _ = samples(1, 6, 6)
    module = fit(tmp_path, [Double(), AddOne()], images(), 36, epochs=1)
    assert torch.equal(given(module), 2 * x + 1)
    module = fit(tmp_path, [AddOne(), Double()], images(), 36, epochs=1)
    assert torch.equal(given(module), 2 * (x + 1))


def test_a_fit_without_the_callback_is_not_changed_by_one_before(tmp_path: Path) -> None:
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, enable_model_summary=False, callbacks=[Double()])  # fmt: skip
    trainer.fit(Recording(36), images())
    trainer.callbacks.clear()
    trainer.fit_loop.max_epochs = 2
    module = Recording(36)
    trainer.fit(module, images())
    assert torch.equal(given(module), samples(1, 6, 6)[0])


class Signals(TensorDataModule):
    """Windows of a sensor whose axes have other units each."""

    input_shape = (3, 12)
    num_classes = CLASSES
    class_names = ("a", "b", "c")

    def load(self) -> tuple[Arrays, Arrays]:
        x, y = samples(3, 12, count=60)
        raw = (x * torch.tensor([[1.0], [5.0], [0.1]]) + torch.tensor([[0.0], [9.8], [1.0]])).numpy()
        return Arrays(raw, y.numpy()), Arrays(raw.copy(), y.numpy())


def raw_lengths(data: TensorDataModule, x: Tensor) -> Tensor:
    scaling = data.describe()["inputs"]["scaling"]
    mean, std = (torch.tensor(scaling[name])[:, None] for name in ("mean", "std"))
    return torch.linalg.vector_norm(x * std + mean, dim=1)


class KeepsBatches(MLP):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        self.given = [*getattr(self, "given", []), batch[0]]
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize("steps_per_execution", [1, 50])
def test_a_turned_sensor_measures_vectors_of_the_same_length(steps_per_execution: int, tmp_path: Path) -> None:
    """In its units, which our data modules scale; however many steps are one execution."""
    pl.seed_everything(0, verbose=False)
    data = Signals(batch_size=len(samples(3, 12, count=60)[0]), seed=0)
    model = KeepsBatches((3, 12), CLASSES, steps_per_execution=steps_per_execution)
    trainer = pl.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                         enable_progress_bar=False, default_root_dir=tmp_path,
                         callbacks=[SignalAugmentation(rotate=90)])  # fmt: skip
    trainer.fit(model, data)
    (x,) = model.given
    (batch,) = data.train_dataloader()
    ours, theirs = raw_lengths(data, x), raw_lengths(data, batch[0])
    assert not torch.allclose(x, batch[0], atol=0.1)
    torch.testing.assert_close(ours.sort(0).values, theirs.sort(0).values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("step", [3, 4])
def test_a_fit_that_goes_on_draws_what_it_would_have_drawn(step: int, tmp_path: Path) -> None:
    """From the end of an epoch and from its middle."""

    def trained(name: str, *more: pl.Callback, seed: int = 0, ckpt_path: Path | None = None) -> KeepsBatches:
        pl.seed_everything(seed, verbose=False)
        model = KeepsBatches((3, 12), CLASSES)
        changes = [SignalAugmentation(time_warp=0.2, jitter=0.2), Mixup(1.0)]
        trainer = pl.Trainer(max_epochs=2, accelerator="cpu", logger=False, enable_progress_bar=False,
                             num_sanity_val_steps=0, default_root_dir=tmp_path / name,
                             callbacks=[*changes, RandomState(), LastCheckpoint(1), *more])  # fmt: skip
        trainer.fit(model, Signals(batch_size=20, seed=0), ckpt_path=ckpt_path, weights_only=True)
        return model

    whole = trained("whole")
    with pytest.raises(StopError):
        trained("part", Stop(step + 1))  # before the checkpoint of that step
    checkpoint = next((tmp_path / "part").rglob("last.ckpt"))
    # With another seed in its process: what the run was seeded with is in its checkpoint.
    resumed = trained("part", seed=5, ckpt_path=checkpoint)
    assert len(whole.given) == 6
    assert len(resumed.given) == 6 - step
    assert all(torch.equal(a, b) for a, b in zip(whole.given[step:], resumed.given, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_mixtures_and_classes_are_those_of_the_paper_in_the_mean() -> None:
    """With the same shares: samples exactly, and a class as often as its share."""
    x, y = samples(5, count=2000)
    mixed, drawn = Mixup(0.7).changed(x, y, np.random.default_rng(3))
    random = np.random.default_rng(3)
    share = torch.from_numpy(random.beta(0.7, 0.7, len(x)))
    random.random(len(x))
    other = torch.from_numpy(random.permutation(len(x)))
    torch.testing.assert_close(mixed, (share[:, None] * x + (1 - share[:, None]) * x[other]).float())
    assert share.mean().item() == pytest.approx(0.5, abs=0.03)
    assert share.var().item() == pytest.approx(1 / (4 * (2 * 0.7 + 1)), rel=0.1)  # of Beta(a, a)
    assert ((drawn == y) | (drawn == y[other])).all()
    differ = y != y[other]
    logits = torch.randn(len(x), CLASSES, generator=torch.Generator().manual_seed(1)).double()

    def loss(target: Tensor) -> Tensor:
        return nn.functional.cross_entropy(logits, target, reduction="none")

    paper = share * loss(y) + (1 - share) * loss(y[other])
    difference = (loss(drawn) - paper)[differ]
    assert abs(difference.mean().item()) < 4 * difference.std().item() / len(difference) ** 0.5
    # A mistake that is caught: always the first class.
    wrong = (loss(y) - paper)[differ & (loss(y) > loss(y[other]))]
    assert wrong.mean().item() > 4 * wrong.std().item() / len(wrong) ** 0.5


Pair = namedtuple("Pair", "x y")


def test_batches_keep_their_kind_and_what_else_is_in_them() -> None:
    x, y = samples(1, 6, 6)
    callback = Double()
    for batch in ((x, y, "more"), [x, y], Pair(x, y)):
        changed = callback.change(batch)
        assert type(changed) is type(batch)
        assert torch.equal(changed[0], 2 * x)
        assert changed[2:] == batch[2:]


@pytest.mark.parametrize(
    ("callback", "batch", "message"),
    [
        (ImageAugmentation(shift=1), {"x": torch.zeros(2, 1, 6, 6)}, "got dict: have the loader give (x, y)"),
        (ImageAugmentation(shift=1), (torch.zeros(2, 1, 6, 6),), "got tuple"),
        (ImageAugmentation(shift=1), (torch.zeros(2, 1, 6, 6), torch.zeros(3)), "one entry a sample"),
        (ImageAugmentation(shift=1), (torch.zeros(2, 1, 6, 6).byte(), torch.zeros(2)), "torch.uint8"),
        (ImageAugmentation(shift=1), (torch.zeros(2, 36), torch.zeros(2)), "these are (2, 36)"),
        (SignalAugmentation(jitter=1), (torch.zeros(2, 36), torch.zeros(2)), "these are (2, 36)"),
        (SignalAugmentation(rotate=1), (torch.zeros(2, 4, 9), torch.zeros(2)), "4 channels are no such sensors"),
        (Mixup(), (torch.zeros(2, 36), torch.zeros(2)), "targets of torch.float32, shape (2,)"),
        (Mixup(), (torch.zeros(2, 36), torch.zeros(2, 3).long()), "shape (2, 3)"),
    ],
)
def test_batches_that_can_not_be_changed(callback: BatchCallback, batch: Any, message: str) -> None:
    callback._place = (0,)
    with pytest.raises(UserError) as caught:
        callback.change(batch)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (ImageAugmentation, "ImageAugmentation would change nothing: say how much, by shift, rotate"),
        (SignalAugmentation, "SignalAugmentation would change nothing"),
        (lambda: ImageAugmentation(shift=-1), "shift must be finite and not negative, got -1"),
        (lambda: ImageAugmentation(shift=float("nan")), "shift must be finite and not negative, got nan"),
        (lambda: ImageAugmentation(rotate=200), "rotate must be 0 to 180, got 200"),
        (lambda: ImageAugmentation(shear=90), "shear must be 0 to 89, got 90"),
        (lambda: ImageAugmentation(elastic=1, smoothness=0), "smoothness must be positive and finite, got 0"),
        (lambda: ImageAugmentation(shift=1, seed=-1), "seed must not be negative, got -1"),
        (lambda: SignalAugmentation(jitter=1, knots=1), "knots must be at least 2, got 1"),
        (lambda: Mixup(0), "alpha must be positive and finite, got 0"),
    ],
)
def test_amounts_that_are_none(make: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert message in str(caught.value)
