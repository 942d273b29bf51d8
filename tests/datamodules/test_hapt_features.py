"""HAPT's features as inputs, on the real recordings: which they are, how they are scaled, what they cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler

from mcubench.datamodules import HAPT
from mcubench.errors import UserError
from mcubench.features import columns, feature_cost, original, select

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def everything(real_data: Path) -> HAPT:
    module = HAPT(root=str(real_data), inputs="features")
    module.setup()
    return module


def test_scaled_by_the_training_part_alone(everything: HAPT) -> None:
    train, test = everything.load()
    part, _ = everything.split.indices(train.y, train.subjects)
    scaler = MinMaxScaler((-1, 1)).fit(train.x[part])
    for name, x in (("train", train.x[part]), ("test", test.x)):
        assert np.allclose(everything.arrays(name)[0], scaler.transform(x), atol=1e-6)
    row = everything.describe()["inputs"]
    assert row["scaling"]["fitted_on"] == "train"
    assert row["scaling"]["minimum"] == train.x[part].min(0).tolist()
    assert row["source"] == "recomputed"
    assert np.abs(everything.arrays("test")[0]).max() > 1, "people of the test set leave the ranges"


def test_published_scaling_is_that_of_the_original_rows(real_data: Path) -> None:
    module = HAPT(root=str(real_data), inputs="features", scaling="published")
    module.setup()
    extremes = [(module.arrays(part)[0].min(), module.arrays(part)[0].max()) for part in ("train", "val", "test")]
    assert np.isclose(np.abs(extremes).max(), 1)
    assert module.describe()["inputs"]["scaling"]["fitted_on"] == "train and test"
    # The reference rows are training windows 2 to 250; the split takes whole people, so they are all in one part.
    rows = np.loadtxt(real_data / "HAPT" / "x_train_rows_2_to_250.csv", delimiter=",")
    train, _ = module.load()
    assert np.abs(module._published(train.x[rows[:, 0].astype(int) - 1]) - rows[:, 1:]).max() <= 1e-6


def test_chosen_by_name(everything: HAPT, real_data: Path) -> None:
    module = HAPT(root=str(real_data), inputs="features", features=["tGravityAcc-mean", "f*-energy"])
    assert module.input_shape == (3 + 9 + 4,)
    expected = select(["tGravityAcc-mean", "f*-energy"])
    assert module.columns == expected
    assert np.array_equal(
        module.arrays("val")[0], everything.arrays("val")[0][:, [column.index for column in expected]]
    )
    assert module.describe()["inputs"]["features"] == [column.name for column in expected]


def test_the_best_are_chosen_on_the_training_part(everything: HAPT, real_data: Path) -> None:
    module = HAPT(root=str(real_data), inputs="features", k_best=10)
    x, y = everything.arrays("train")
    module.setup()
    chosen = [column.index for column in module.columns]
    assert len(chosen) == 10
    assert all(original(column) == column for column in module.columns)
    # F by hand: variance between the classes' means over that within them.
    groups = [x[y == label].astype(np.float64) for label in range(12)]
    between = sum(len(group) * (group.mean(0) - x.mean(0, dtype=np.float64)) ** 2 for group in groups) / 11
    within = sum(((group - group.mean(0)) ** 2).sum(0) for group in groups) / (len(x) - 12)
    f = between / within
    assert f.argmax() in chosen
    correlations = np.abs(np.corrcoef(x[:, chosen], rowvar=False)) - np.eye(10)
    assert correlations.max() < 0.95
    better = np.flatnonzero(f > f[chosen].min())
    for left_out in set(better.tolist()) - set(chosen):
        with_taken = [
            abs(np.corrcoef(x[:, left_out], x[:, other])[0, 1]) for other in chosen if f[other] >= f[left_out]
        ]
        assert max(with_taken) >= 0.95 - 1e-6, columns()[left_out].name


def test_the_choice_does_not_see_validation(real_data: Path) -> None:
    """With the labels of all other people shuffled, the same columns are chosen."""

    class Shuffled(HAPT):
        def load(self):
            train, test = super().load()
            _, others = self.split.indices(train.y, train.subjects)
            train.x[others] = np.random.default_rng(0).permutation(train.x[others])
            test.x[:] = 0
            return train, test

    honest, shuffled = (kind(root=str(real_data), inputs="features", k_best=20) for kind in (HAPT, Shuffled))
    assert shuffled.columns == honest.columns


def test_the_cost_is_that_of_the_chosen(real_data: Path) -> None:
    module = HAPT(root=str(real_data), inputs="features", k_best=5)
    assert module.preprocessing() == feature_cost(module.columns)
    assert HAPT(root=str(real_data), inputs="features").preprocessing() == feature_cost()
    assert HAPT(root=str(real_data)).preprocessing() is None
    assert HAPT(root=str(real_data)).columns == ()


def test_copies_are_left_out_only_beside_what_they_copy(real_data: Path) -> None:
    # All of tGravityAccMag copies tBodyAccMag, which was not asked for; of its 13 columns sma is mean.
    module = HAPT(root=str(real_data), inputs="features", features=["tGravityAccMag"], k_best=12)
    assert [column.name for column in module.columns] == [
        column.name for column in select(["tGravityAccMag"]) if column.statistic != "sma"
    ]


def test_a_second_fit_chooses_among_all(real_data: Path) -> None:
    module = HAPT(root=str(real_data), inputs="features", k_best=6)
    train, _ = module.load()
    one, other = (train.take(np.flatnonzero(train.subjects == subject)) for subject in (1, 30))  # type: ignore[operator]
    module.fit_scaling(one)
    module.fit_scaling(other)
    fresh = HAPT(root=str(real_data), inputs="features", k_best=6)
    fresh.load()
    fresh.fit_scaling(other)
    assert module._chosen == fresh._chosen


def test_one_text_names_features_too() -> None:
    for features in ("tBodyAcc-mean,tGravityAcc", ["tBodyAcc-mean", "tGravityAcc"]):
        assert HAPT(inputs="features", features=features).input_shape == (3 + 43,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": "features", "scaling": "test"}, "'train' or 'published', got 'test'"),
        ({"scaling": "published"}, "are for --data.inputs features"),
        ({"features": ["mean"]}, "are for --data.inputs features"),
        ({"k_best": 3}, "are for --data.inputs features"),
        ({"inputs": "features", "k_best": 0}, "k_best must be 1 to 540"),  # 561 less 21 copies
        ({"inputs": "features", "k_best": 541}, "k_best must be 1 to 540"),
        ({"inputs": "features", "features": ["tBodyAccMag"], "k_best": 13}, "k_best must be 1 to 12"),  # sma is mean
        ({"inputs": "features", "k_best": 3.0}, "k_best must be 1 to 540, .* got 3.0"),
        ({"inputs": "features", "features": ["tBodyAc"]}, "no feature is named 'tBodyAc'. Did you mean 'tBodyAcc'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        HAPT(**options)  # type: ignore[arg-type]
