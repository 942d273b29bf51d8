"""TensorDataModule on made-up arrays, against numpy and scikit-learn."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from mcubench.datamodules import Arrays, MinMax, TensorDataModule
from mcubench.errors import UserError


class Made(TensorDataModule):
    """120 samples of two channels with different means, and 30 test samples with very different ones."""

    def __init__(self, labels: int = 3, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.input_shape = (2, 5)
        self.num_classes = labels
        self.class_names = tuple("abc"[:labels])
        self.loads = 0

    def load(self) -> tuple[Arrays, Arrays]:
        self.loads += 1
        random = np.random.default_rng(0)
        offset = np.array([[3.0], [-50.0]])
        train = (random.normal(size=(120, 2, 5)) * [[2.0], [9.0]] + offset).astype(np.float32)
        test = (random.normal(size=(30, 2, 5)) + 1000).astype(np.float32)
        y = np.repeat([0, 1, 2], [60, 40, 20])
        return Arrays(train, y), Arrays(test, np.zeros(30, np.int64))


def test_scaled_by_the_training_part_alone() -> None:
    module = Made()
    x, _ = module.arrays("train")
    assert np.allclose(x.mean((0, 2)), 0, atol=1e-5)
    assert np.allclose(x.std((0, 2)), 1, atol=1e-5)
    raw_train, raw_test = module.load()
    train_index, _ = module.split.indices(raw_train.y, None)
    mean, std = raw_train.x[train_index].mean((0, 2)), raw_train.x[train_index].std((0, 2))
    scaling = module.describe()["inputs"]["scaling"]
    assert np.allclose(scaling["mean"], mean, rtol=1e-5)
    assert np.allclose(scaling["std"], std, rtol=1e-5)
    assert np.allclose(module.arrays("test")[0], (raw_test.x - mean[:, None]) / std[:, None], rtol=1e-3)


def test_samples_may_be_taken_as_they_are() -> None:
    class AsTheyAre(Made):
        def fit_scaling(self, train: Arrays) -> None:
            return None

    module = AsTheyAre()
    assert np.array_equal(module.arrays("test")[0], module.load()[1].x)
    assert module.describe()["inputs"] == {"shape": [2, 5], "scaling": None}


def test_a_scaling_of_ones_own() -> None:
    class First(Made):
        def __init__(self) -> None:
            super().__init__()
            self.input_shape = (1,)

        def load(self) -> tuple[Arrays, Arrays]:
            return tuple(Arrays(part.x[:, :, 0], part.y) for part in super().load())  # type: ignore[return-value]

        def fit_scaling(self, train: Arrays) -> MinMax:
            return MinMax.fit(train.x, [1], "train")

    x, _ = First().arrays("train")
    assert x.shape[1:] == (1,)
    assert (x.min(), x.max()) == (-1, 1)


def test_a_constant_channel_is_left_at_zero() -> None:
    class Constant(Made):
        def load(self) -> tuple[Arrays, Arrays]:
            train, test = super().load()
            train.x[:, 0] = 7
            return train, test

    assert np.all(Constant().arrays("train")[0][:, 0] == 0)


def test_class_weights_are_those_of_scikit_learn() -> None:
    module = Made()
    _, y = module.arrays("train")
    expected = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert np.allclose(module.class_weights.numpy(), expected)


def test_class_weights_need_every_class() -> None:
    class Missing(Made):
        def load(self) -> tuple[Arrays, Arrays]:
            train, test = super().load()
            return Arrays(train.x, np.minimum(train.y, 1)), test

    with pytest.raises(UserError, match="class c has no training sample"):
        _ = Missing().class_weights


def test_loads_once() -> None:
    module = Made()
    module.setup("fit")
    module.setup("test")
    module.arrays("val")
    assert module.loads == 1


def test_batches_are_the_arrays() -> None:
    module = Made(batch_size=16)
    for part, loader in (("val", module.val_dataloader()), ("test", module.test_dataloader())):
        x, y = (torch.cat(parts).numpy() for parts in zip(*loader, strict=True))
        assert np.array_equal(x, module.arrays(part)[0])  # type: ignore[arg-type]
        assert np.array_equal(y, module.arrays(part)[1])  # type: ignore[arg-type]
    labels = torch.cat([y for _, y in module.train_dataloader()])
    assert not torch.equal(labels, torch.tensor(module.arrays("train")[1])), "training batches are shuffled"
    assert torch.equal(labels.sort().values, torch.tensor(module.arrays("train")[1]))


def test_batch_order_follows_the_global_seed_unless_it_has_its_own() -> None:
    def first(seed: int | None, global_seed: int) -> list[int]:
        torch.manual_seed(global_seed)
        x, _ = next(iter(Made(batch_size=8, seed=seed).train_dataloader()))
        return x.flatten().tolist()

    assert first(None, 1) == first(None, 1) != first(None, 2)
    assert first(5, 1) == first(5, 2)


def test_split_does_not_follow_the_global_seed() -> None:
    def labels(global_seed: int) -> list[float]:
        torch.manual_seed(global_seed)
        np.random.seed(global_seed)  # noqa: NPY002
        return Made().arrays("val")[0].ravel().tolist()

    assert labels(1) == labels(2)


def test_resume_starts_at_the_next_batch() -> None:
    module = Made(batch_size=10, seed=0)
    loader = module.train_dataloader()
    everything = [y.tolist() for _, y in loader]
    iterator = iter(loader)
    next(iterator)
    next(iterator)
    resumed = Made(batch_size=10, seed=0)
    resumed.load_state_dict(module.state_dict())
    assert [y.tolist() for _, y in resumed.train_dataloader()] == everything[2:]


def test_a_class_missing_from_validation_is_said(caplog: pytest.LogCaptureFixture) -> None:
    class Rare(Made):
        def load(self) -> tuple[Arrays, Arrays]:
            train, test = super().load()
            return Arrays(train.x, np.where(np.arange(120) == 0, 2, 0)), test

    Rare(split="random", val_fraction=0.05).setup()
    assert "no sample of b" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [({"batch_size": 0}, "batch_size"), ({"val_fraction": 2}, "val_fraction"), ({"seed": -1}, "seed")],
)
def test_wrong_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Made(**options)


def test_arrays_are_read_only_because_training_shares_them() -> None:
    for array in Made().arrays("train"):
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 7


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (
            np.zeros((40, 2, 4)),
            np.zeros(40, int),
            r"shape \(2, 4\), scaled to \(2, 4\); its input_shape is \(2, 5\)",
        ),
        (np.zeros((50, 2, 5)), np.zeros(40, int), r"labels of shape \(40,\)"),
        (np.zeros((40, 2, 5)), np.arange(40) % 4, "labels 0 to 3; with num_classes 3"),
        (np.zeros((40, 2, 5)), np.arange(40) % 2 - 1, "labels -1 to 0"),
    ],
)
def test_what_load_returns_is_checked(x: np.ndarray, y: np.ndarray, message: str) -> None:
    class Wrong(Made):
        def load(self) -> tuple[Arrays, Arrays]:
            return Arrays(x, y), Arrays(x, y)

    with pytest.raises(UserError, match=message):
        Wrong().setup()


def test_a_checkpoint_loaded_for_testing_does_not_cut_the_next_fit() -> None:
    module = Made(batch_size=10, seed=0)
    next(iter(module.train_dataloader()))
    state = module.state_dict()
    fresh = Made(batch_size=10, seed=0)
    fresh.trainer = SimpleNamespace(state=SimpleNamespace(fn="test"))  # type: ignore[assignment]
    fresh.load_state_dict(state)
    fresh.trainer = None
    assert len(list(fresh.train_dataloader())) == 11


def test_unknown_part() -> None:
    with pytest.raises(UserError, match="'dev'; there are train, val and test"):
        Made().arrays("dev")  # type: ignore[arg-type]


def test_typing_errors_are_not_swallowed() -> None:
    with pytest.raises(TypeError, match="val_fracton"):
        Made(val_fracton=0.2)
