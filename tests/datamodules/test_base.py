"""TensorDataModule on made-up arrays, against numpy and scikit-learn."""

from __future__ import annotations

import tracemalloc
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
            np.arange(40) % 3,
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


def of(x: object, y: object, test: Arrays | None = None) -> TensorDataModule:
    class Given(Made):
        def load(self) -> tuple[Arrays, Arrays]:
            train = Arrays(x, y)  # type: ignore[arg-type]
            return train, test or train

    return Given()


def samples() -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(0).normal(size=(60, 2, 5)).astype(np.float32), np.arange(60) % 3


def with_value(value: float) -> np.ndarray:
    x = samples()[0].astype(np.float64)
    x[7, 1, 2] = value
    return x


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_with_its_set_and_place(value: float) -> None:
    good, y = samples()
    with pytest.raises(UserError, match=r"load, training set: x must be finite.* index 7 has .* at \(1, 2\)"):
        of(with_value(value), y).setup()
    with pytest.raises(UserError, match=r"load, test set: x must be finite.* index 7"):
        of(good, y, Arrays(with_value(value), y)).setup()


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(60, 2, 5), samples()[1], r"training set: x must be a numpy array; got torch\.Tensor"),
        (samples()[0], torch.zeros(60).long(), r"y must be a numpy array; got torch\.Tensor"),
        (samples()[0], samples()[1].tolist(), r"y must be a numpy array; got builtins\.list"),
        (samples()[0], samples()[1].astype(np.float32), "y must be integers; got labels of type float32"),
        (samples()[0], samples()[1][:, None], r"labels of shape \(60, 1\)"),
        (samples()[0].astype(object), samples()[1], "x must be real numbers .* got object"),
        (samples()[0].astype(complex), samples()[1], "x must be real numbers .* got complex128"),
        (samples()[0][:0], samples()[1][:0], "training set: has no samples"),
        (samples()[0], np.full(60, 2), "training set: all of its 60 samples are of class 2"),
        (samples()[0], np.where(np.arange(60) == 5, 3, 0), "The first that is not is at index 5: 3"),
    ],
)
def test_what_can_not_be_trained_on_is_named(x: object, y: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        of(x, y).setup()


def test_an_empty_test_set_is_seen_before_the_training() -> None:
    x, y = samples()
    with pytest.raises(UserError, match="test set: has no samples"):
        of(x, y, Arrays(x[:0], y[:0])).setup()


@pytest.mark.parametrize("found", [None, (), "two", (None, None)])
def test_what_is_no_pair_of_arrays_is_named(found: object) -> None:
    class Wrong(Made):
        def load(self) -> tuple[Arrays, Arrays]:
            return found  # type: ignore[return-value]

    with pytest.raises(UserError, match="Arrays"):
        Wrong().setup()


def test_names_of_classes_are_counted() -> None:
    module = Made()
    module.class_names = ("a", "b")
    with pytest.raises(UserError, match="2 class_names, and num_classes is 3"):
        module.setup()


def test_values_whose_squares_are_no_float32_are_refused_and_not_made_zero() -> None:
    x, y = samples()
    with pytest.raises(UserError, match=r"channel 0 .* too large to be scaled"):
        of(x * np.float32(1e30), y).setup()


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint8, np.uint64])
def test_labels_of_any_integers_are_classes(dtype: type) -> None:
    x, y = samples()
    assert of(x, y.astype(dtype)).arrays("test")[1].dtype == np.int64


def test_a_forward_in_place_does_not_change_the_data() -> None:
    module = Made(batch_size=7)
    for part, loader in (("val", module.val_dataloader()), ("test", module.whole("test"))):
        before = module.arrays(part)[0].copy()  # type: ignore[arg-type]
        for batch in loader:
            batch[0].add_(1)
        assert np.array_equal(module.arrays(part)[0], before)  # type: ignore[arg-type]


class Large(Made):
    """32 MB, which `load` hands over, or keeps."""

    kept: tuple[Arrays, Arrays] | None = None

    def __init__(self, keeps: bool) -> None:
        super().__init__()
        self.keeps = keeps
        self.input_shape = (2, 200)

    def load(self) -> tuple[Arrays, Arrays]:
        x = np.random.default_rng(0).standard_normal((20_000, 2, 200), np.float32)
        found = Arrays(x, np.arange(len(x)) % 3), Arrays(x[:9].copy(), np.arange(9) % 3)
        if self.keeps:
            self.kept = found
        return found


def test_arrays_that_are_handed_over_are_not_copied() -> None:
    tracemalloc.start()
    try:
        Large(keeps=False).setup()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.45 * 20_000 * 400 * 4  # of it 0.1 for validation, and two parts of 4 MB that are worked on


def test_arrays_that_are_kept_stay_as_they_are_and_give_the_same() -> None:
    keeping, handing = Large(keeps=True), Large(keeps=False)
    keeping.setup()
    assert keeping.kept is not None
    for kept, loaded in zip(keeping.kept, Large(keeps=False).load(), strict=True):
        assert np.array_equal(kept.x, loaded.x)
    for part in ("train", "val", "test"):
        for ours, theirs in zip(keeping.arrays(part), handing.arrays(part), strict=True):  # type: ignore[arg-type]
            assert np.array_equal(ours, theirs)
