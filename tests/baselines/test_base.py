"""What all baselines share: weights of classes, subsampling, classes that are missing, foreign data, wrong options."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import sklearn
import torch
from lightning.pytorch import callbacks as lightning_callbacks
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as PlainLogisticRegression
from sklearn.naive_bayes import GaussianNB as PlainGaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.class_weight import compute_sample_weight
from torch.utils.data import DataLoader, TensorDataset

from mcubench.baselines import (
    KNN,
    SVM,
    Baseline,
    DecisionTree,
    GaussianNB,
    LinearSVM,
    LogisticRegression,
    NumpyMLP,
    RandomForest,
    Sklearn,
    SklearnMLP,
)
from mcubench.baselines.heartbeat import heartbeat
from mcubench.callbacks import Distillation, EpochTimer, ImageAugmentation, LastCheckpoint, Mixup, RandomState
from mcubench.cli.main import main
from mcubench.datamodules import Arrays, Digits, TensorDataModule
from mcubench.errors import UserError
from tests.baselines.cases import ESTIMATORS, Case, digits, failure
from tests.foreign import MyData, MyHooks, loader

QUIET = ("--trainer.enable_progress_bar", "false")


class Uneven(TensorDataModule):
    """Three overlapping clouds; in training there are 40, 40 and 160, whose balanced weights are 2, 2 and 1/2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(val_fraction=0.2, **options)
        self.input_shape, self.num_classes, self.class_names = (4,), 3, ("a", "b", "c")

    def load(self) -> tuple[Arrays, Arrays]:
        random = np.random.default_rng(3)
        y = np.repeat([0, 1, 2], [50, 50, 200]).astype(np.int64)
        x = random.normal(size=(300, 4)) + np.eye(3, 4)[y]
        full = Arrays(x.astype(np.float32), y)
        return full, full.take(np.arange(0, 300, 5))


def trainer(**options: Any) -> pl.Trainer:
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    return pl.Trainer(**{"max_epochs": 3, "accelerator": "cpu", "num_sanity_val_steps": 0, **quiet, **options})


def fitted(kind: type[Baseline], **options: Any) -> Any:
    """A baseline, fitted on the uneven data under a Trainer."""
    module = kind(input_shape=(4,), num_classes=3, **{"seed": 0, **options})
    trainer().fit(module, Uneven())
    return module


def on_digits(kind: type[Baseline], **options: Any) -> Any:
    """A new baseline for the digits."""
    return kind(input_shape=(1, 8, 8), num_classes=10, **{"seed": 0, **options})


def on_three(kind: type[Baseline], **options: Any) -> Any:
    """A new baseline for the uneven data."""
    return kind(input_shape=(4,), num_classes=3, **{"seed": 0, **options})


LOGISTIC = "sklearn.linear_model.LogisticRegression"
WEIGHED = [
    (DecisionTree, {}, lambda w: DecisionTreeClassifier(random_state=0, class_weight=w)),
    (RandomForest, {"trees": 5}, lambda w: RandomForestClassifier(5, random_state=0, class_weight=w)),
    (SVM, {}, lambda w: SVC(class_weight=w)),
    (LogisticRegression, {}, lambda w: PlainLogisticRegression(class_weight=w)),
    (Sklearn, {"estimator": LOGISTIC}, lambda w: PlainLogisticRegression(class_weight=w)),
    (
        Sklearn,
        {"estimator": LOGISTIC, "before": ["sklearn.preprocessing.StandardScaler"]},
        lambda w: make_pipeline(StandardScaler(), PlainLogisticRegression(class_weight=w)),
    ),
]
IDS = [f"{kind.__name__}{len(options.get('before', []))}" for kind, options, _ in WEIGHED]


def learned(estimator: BaseEstimator) -> list[Any]:
    """The arrays that say what an estimator has learned."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if hasattr(last, "estimators_"):
        return [array for each in last.estimators_ for array in learned(each)]
    if hasattr(last, "tree_"):
        return [last.tree_.feature, last.tree_.threshold, last.tree_.value]
    return [getattr(last, "dual_coef_", None) if last.__class__ is SVC else last.coef_, last.intercept_]


def same(a: BaseEstimator, b: BaseEstimator) -> bool:
    pairs = list(zip(learned(a), learned(b), strict=True))
    return all(x.shape == y.shape and np.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in pairs)


class TestClassWeights:
    """The reference is scikit-learn's own ``class_weight``, which it turns into the same sample weights itself."""

    @pytest.mark.parametrize(("kind", "options", "reference"), WEIGHED, ids=IDS)
    @pytest.mark.parametrize("given", ["balanced", [2.0, 2.0, 0.5], [1.0, 4.0, 0.25]], ids=str)
    def test_they_are_scikit_learns(self, kind: Any, options: Any, reference: Any, given: Any) -> None:
        x, y = Uneven().arrays("train")
        assert np.bincount(y).tolist() == [40, 40, 160]
        weights = given if given == "balanced" else dict(enumerate(given))
        module = fitted(kind, **options, class_weights=given)
        assert same(module.estimator, reference(weights).fit(x, y))
        assert not same(module.estimator, reference(None).fit(x, y)), "unweighted, it would be another"

    @pytest.mark.parametrize("given", ["balanced", [1.0, 4.0, 0.25]], ids=str)
    def test_a_linear_machine(self, given: Any) -> None:
        # liblinear's class_weight leaves the samples of "all other classes" unweighted, so that is no reference here
        x, y = Uneven().arrays("train")
        weights = compute_sample_weight(given if given == "balanced" else dict(enumerate(given)), y)
        module = fitted(LinearSVM, class_weights=given)
        assert same(module.estimator, LinearSVC(random_state=0).fit(x, y, weights))
        assert not same(module.estimator, LinearSVC(random_state=0).fit(x, y))

    def test_naive_bayes(self) -> None:
        # it has no class_weight: the reference is scikit-learn's compute_sample_weight
        x, y = Uneven().arrays("train")
        module = fitted(GaussianNB, class_weights="balanced")
        plain = PlainGaussianNB().fit(x, y, compute_sample_weight("balanced", y))
        assert np.allclose(module.estimator.class_prior_, 1 / 3)
        assert np.allclose(module.estimator.theta_, plain.theta_)
        assert np.allclose(module.estimator.var_, plain.var_)

    def test_they_are_those_of_the_drawn_samples(self) -> None:
        x, y = Uneven().arrays("train")
        module = on_three(KNN, max_samples=120)
        module.fit(x, y)
        drawn, classes = module.estimator._fit_X, module.estimator._y
        weighed = on_three(LogisticRegression, max_samples=120, class_weights=[2.0, 2.0, 0.5])
        weighed.fit(x, y)
        plain = PlainLogisticRegression(class_weight={0: 2.0, 1: 2.0, 2: 0.5}).fit(drawn, classes)
        assert np.allclose(weighed.estimator.coef_, plain.coef_, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            (KNN, {}),
            (NumpyMLP, {"epochs": 1}),
            (Sklearn, {"estimator": "sklearn.neighbors.KNeighborsClassifier"}),
            (
                Sklearn,
                {
                    "estimator": "sklearn.neighbors.KNeighborsClassifier",
                    "before": ["sklearn.preprocessing.StandardScaler"],
                },
            ),
        ],
    )
    def test_refused_where_the_estimator_knows_none(self, kind: Any, options: Any) -> None:
        with pytest.raises(UserError, match=r"takes no weights of samples: leave class_weights out"):
            fitted(kind, **options, class_weights="balanced")

    def test_a_pipeline_in_a_pipeline(self) -> None:
        class Nested(Baseline):
            def make(self) -> BaseEstimator:
                return make_pipeline(StandardScaler(), make_pipeline(StandardScaler(), PlainLogisticRegression()))

        x, y = Uneven().arrays("train")
        plain = make_pipeline(StandardScaler(), PlainLogisticRegression(class_weight="balanced")).fit(x, y)
        module = fitted(Nested, class_weights="balanced")
        assert np.allclose(module.estimator[-1][-1].coef_, plain[-1].coef_, rtol=1e-4, atol=1e-5)


class TestMaxSamples:
    """KNN stores what it was fitted on, so what was drawn can be seen."""

    @staticmethod
    def drawn(max_samples: int | None, seed: int = 0) -> tuple[Any, Any]:
        x, y = Uneven().arrays("train")
        module = on_three(KNN, max_samples=max_samples, seed=seed)
        module.fit(x, y)
        assert module.fitted_on == len(module.estimator._fit_X)
        return module.estimator._fit_X, module.estimator._y

    @pytest.mark.parametrize("size", [6, 24, 120, 237])
    def test_shares_of_the_classes_are_kept(self, size: int) -> None:
        for seed in range(5):  # any draw comes close once
            x, y = self.drawn(size, seed)
            assert len(x) == size
            assert np.bincount(y) == pytest.approx(size * np.array([1, 1, 4]) / 6, abs=0.9)

    def test_they_are_samples_of_the_training_part_each_once(self) -> None:
        x, y = Uneven().arrays("train")
        drawn, classes = self.drawn(100)
        rows = {tuple(row): label for row, label in zip(x.tolist(), y, strict=True)}
        assert [rows[tuple(row)] for row in drawn.tolist()] == classes.tolist()
        assert len({tuple(row) for row in drawn.tolist()}) == 100

    def test_the_seed_draws(self) -> None:
        assert np.array_equal(self.drawn(60)[0], self.drawn(60)[0])
        assert not np.array_equal(self.drawn(60)[0], self.drawn(60, seed=1)[0])

    @pytest.mark.parametrize("size", [None, 240, 241, 10_000])
    def test_enough_is_all(self, size: int | None) -> None:
        assert np.array_equal(self.drawn(size)[0], Uneven().arrays("train")[0])

    @pytest.mark.parametrize("size", [238, 239])
    def test_almost_all(self, size: int) -> None:
        assert len(self.drawn(size)[0]) == size

    def test_a_class_of_one_sample(self) -> None:
        module = on_three(KNN, max_samples=20)
        module.fit(np.arange(160.0).reshape(40, 4), np.repeat([0, 1, 2], [1, 20, 19]))
        assert module.fitted_on == 20

    @pytest.mark.parametrize("size", [3, 7, 100])
    def test_every_class_is_drawn(self, size: int) -> None:
        # by their shares of 500, 3 and 1 in 504, the rare ones would get none of 7
        y = np.repeat([0, 1, 2], [500, 3, 1])
        module = on_three(KNN, max_samples=size, neighbours=1)
        module.fit(np.arange(4.0 * len(y)).reshape(-1, 4), y)
        assert set(module.estimator._y.tolist()) == {0, 1, 2}
        assert module.fitted_on == size

    @pytest.mark.parametrize("size", [2, 1, 0, -5])
    def test_too_few(self, size: int) -> None:
        with pytest.raises(UserError, match=f"max_samples must be at least 3, one a class; got {size}"):
            on_three(KNN, max_samples=size)

    def test_it_is_said(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        options = ("--model", "GaussianNB", "--data.size", "8", "--model.max_samples", "217")
        assert main(["fit", *options, "--trainer.enable_progress_bar", "false"]) == 0
        assert re.search(r"\b217\b.*samples|samples.*\b217\b", capsys.readouterr().out)


class TestSeeds:
    def test_the_seed_is_the_estimators(self) -> None:
        x, y = Uneven().arrays("train")
        module = fitted(RandomForest, trees=5, seed=7)
        assert same(module.estimator, RandomForestClassifier(5, random_state=7).fit(x, y))
        assert not same(module.estimator, fitted(RandomForest, trees=5, seed=8).estimator)

    def test_seed_everything_is_followed_as_data_modules_follow_it(self) -> None:
        forests = []
        for seed in (1, 2):
            pl.seed_everything(seed, verbose=False)
            forests.append(fitted(RandomForest, trees=5, seed=None).estimator)
        assert not same(*forests)


@pytest.mark.parametrize("case", ESTIMATORS, ids=str)
class TestScores:
    def test_the_largest_is_the_class_that_the_estimator_predicts(self, case: Case) -> None:
        module = case.make()
        module.fit(*digits())
        rng = np.random.default_rng(1)
        for noise in (0.0, 1.0):  # noise brings samples between the classes, where ties and roundings are
            x = digits("test")[0] + np.float32(noise) * rng.normal(size=digits("test")[0].shape).astype(np.float32)
            scores = module(torch.tensor(x))
            assert scores.shape == (len(x), 10)
            assert scores.dtype == torch.float32
            assert np.array_equal(scores.argmax(1), module.estimator.predict(x.reshape(len(x), -1)))
            assert torch.allclose(scores.sum(1), torch.ones(len(x)), atol=1e-3)

    def test_classes_that_training_has_not(self, case: Case) -> None:
        x, y = digits()
        there = np.isin(y, [1, 2, 7])
        module = case.make()
        module.fit(x[there], y[there])
        x = x.reshape(len(x), -1)
        plain = case.reference().fit(x[there], y[there])  # type: ignore[misc]
        scores = module(torch.tensor(x).reshape(-1, 1, 8, 8))
        assert scores.shape == (len(x), 10)
        assert not scores[:, [0, 3, 4, 5, 6, 8, 9]].any()
        found, expected = scores.argmax(1).numpy(), plain.predict(x)
        if hasattr(plain, "predict_proba"):  # of two equal shares of a forest, float64 takes either
            shares = plain.predict_proba(x)
            rows, places = np.arange(len(x)), np.searchsorted(plain.classes_, found)
            expected = np.where(shares[rows, places] > shares.max(1) - 1e-9, found, expected)
        if case.model == "KNN":  # the last that counts and the next may be as far, but for roundings
            third, fourth = plain.kneighbors(x, 4)[0][:, 2:].T
            either = fourth - third < 1e-6 * fourth
            assert either.mean() < 0.01
            expected = np.where(either, found, expected)
        assert np.array_equal(found, expected)

    def test_forward_before_fit(self, case: Case) -> None:
        with pytest.raises(UserError, match=f"{case.model} is not fitted yet: run fit first, or load a checkpoint"):
            case.make()(torch.zeros(1, 1, 8, 8))


@pytest.mark.parametrize(
    ("estimator", "arguments"),
    [("sklearn.neighbors.NearestCentroid", {}), ("sklearn.svm.SVC", {"probability": True})],
    ids=["NearestCentroid", "SVC"],
)
@pytest.mark.filterwarnings("ignore:.*probability.*:FutureWarning")
def test_estimators_whose_probabilities_disagree_with_predict(estimator: str, arguments: dict[str, Any]) -> None:
    x, y = digits()
    module = on_digits(Sklearn, estimator=estimator, arguments=arguments)
    module.fit(x[:300], y[:300])
    test = digits("test")[0]
    assert np.array_equal(module(torch.tensor(test)).argmax(1), module.estimator.predict(test.reshape(len(test), -1)))


class TestPlainLightning:
    def test_the_callbacks_of_networks_work(self, tmp_path: Path) -> None:
        timer, last = EpochTimer(), LastCheckpoint()
        module = on_digits(DecisionTree)
        run = trainer(callbacks=[timer, RandomState(), last], default_root_dir=tmp_path, enable_checkpointing=True)
        run.fit(module, Digits(size=8))
        (tested,) = run.test(module, Digits(size=8), verbose=False)
        x, y = digits("test")
        plain = DecisionTreeClassifier(random_state=0).fit(digits()[0].reshape(-1, 64), digits()[1])
        assert tested["test/accuracy"] == pytest.approx(plain.score(x.reshape(len(x), -1), y))
        assert run.current_epoch == 1
        assert run.global_step == 1
        assert len(timer.epochs) == 1
        assert last.path == tmp_path / "checkpoints" / "last.ckpt"
        again = DecisionTree.load_from_checkpoint(last.path, weights_only=True)
        assert again.fitted_on == len(digits()[1])
        predicted = torch.cat(run.predict(again, Digits(size=8)))  # type: ignore[arg-type]
        assert np.array_equal(predicted.argmax(1), plain.predict(x.reshape(len(x), -1)))

    def test_the_sanity_check_of_lightning_changes_nothing(self) -> None:
        # Trainer() validates two batches before the first epoch, when nothing is fitted
        logged = []
        for steps in (0, 2):
            run, module = trainer(num_sanity_val_steps=steps), on_digits(DecisionTree)
            run.fit(module, Digits(size=8))
            assert module.fitted_on == len(digits()[1])
            logged.append({name: float(value) for name, value in run.logged_metrics.items()})
        assert logged[0] == logged[1]
        assert logged[0]["val/accuracy"] > 0.5

    def test_more_epochs_asked_for_by_min_epochs_fit_once(self) -> None:
        module = on_digits(DecisionTree)
        fits = []
        plain = module.fit
        module.fit = lambda *args, **options: (fits.append(len(args[0])), plain(*args, **options))
        trainer(min_epochs=3, max_epochs=5).fit(module, Digits(size=8))
        assert fits == [1149]

    def test_each_fit_is_of_the_data_given(self) -> None:
        # the mistake: a module that keeps its first estimator when it is given to another fit by hand
        module = on_digits(DecisionTree)
        x, y = digits()
        module.fit(x[:100], y[:100])
        assert module.fitted_on == 100
        module.fit(x[:200], y[:200])
        assert module.fitted_on == 200


class TestForeignData:
    """The references are trees that are fitted on the loader's batches by hand."""

    @staticmethod
    def plain(flip: bool = False) -> Any:
        x, y = loader().dataset.tensors  # type: ignore[attr-defined]
        return DecisionTreeClassifier(max_depth=2, random_state=0).fit(x.numpy(), (1 - y if flip else y).numpy())

    def test_a_data_module(self) -> None:
        module = DecisionTree(input_shape=(4,), num_classes=2, max_depth=2)
        run = trainer()
        run.fit(module, MyData())
        x, y = loader().dataset.tensors  # type: ignore[attr-defined]
        assert module.fitted_on == 200
        assert run.logged_metrics["val/accuracy"] == pytest.approx(self.plain().score(x.numpy(), y.numpy()))
        assert run.logged_metrics["val/accuracy"] < 1, "a tree of depth 2 can't know this data by heart"

    def test_a_loader(self) -> None:
        x, y = digits()
        data = DataLoader(TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=100, shuffle=True)
        module = on_digits(GaussianNB)
        trainer().fit(module, data)
        plain = PlainGaussianNB().fit(x.reshape(len(x), -1), y)
        assert module.fitted_on == len(x)
        assert np.allclose(module.estimator.theta_, plain.theta_, atol=1e-5)

    def test_hooks_of_the_data_module_are_heard(self) -> None:
        module = DecisionTree(input_shape=(4,), num_classes=2, max_depth=2)
        run = trainer()
        run.fit(module, MyHooks())
        x, y = loader().dataset.tensors  # type: ignore[attr-defined]
        expected = self.plain(flip=True).score(x.numpy(), 1 - y.numpy())
        assert run.logged_metrics["val/accuracy"] == pytest.approx(expected)

    def test_class_weights_need_to_be_given(self) -> None:
        with pytest.raises(UserError, match="class_weights 'balanced' needs a data module with the attribute"):
            trainer().fit(DecisionTree(input_shape=(4,), num_classes=2, class_weights="balanced"), MyData())

    @pytest.mark.parametrize(
        ("y", "message"),
        [
            (torch.tensor([0, 1, 2, 1]), r"train_dataloader .* 0 to 1; sample 2 has 2"),
            (torch.tensor([-1, 1, 0, 1]), r"0 to 1; sample 0 has -1"),
            (torch.tensor([0.0, 1, 0, 1]), r"must be integers .* torch.float32"),
            (torch.tensor([[0], [1], [0], [1]]), r"\(4, 1\)"),
        ],
        ids=["too large", "negative", "float", "column"],
    )
    def test_labels_that_are_no_classes(self, y: torch.Tensor, message: str) -> None:
        with pytest.raises(UserError, match=message):
            trainer().fit(
                DecisionTree(input_shape=(4,), num_classes=2), DataLoader(TensorDataset(torch.randn(4, 4), y))
            )

    def test_batches_of_another_form(self) -> None:
        x = torch.randn(4, 4)
        with pytest.raises(UserError, match=r"batches must be pairs \(x, y\) of tensors"):
            trainer().fit(DecisionTree(input_shape=(4,), num_classes=2), DataLoader(TensorDataset(x, x, x)))


@pytest.mark.parametrize(
    "option", [{"fast_dev_run": True}, {"limit_train_batches": 2}, {"overfit_batches": 1}], ids=str
)
def test_a_part_of_the_batches_is_refused(option: dict[str, Any]) -> None:
    module = on_digits(GaussianNB)
    with pytest.raises(UserError, match=r"GaussianNB is fitted on the whole training part.*use max_samples"):
        trainer(**option).fit(module, Digits(size=8))


@pytest.mark.parametrize("weights", ["balanced", [0.1, 0.3, 0.7, 1.1, 1.3, 1.7, 0.9, 0.2, 0.6, 0.4]], ids=str)
def test_weights_are_scikit_learns_to_the_last_bit(weights: Any) -> None:
    """Rounded to float32 they change splits of about 30 in 360 predictions."""
    data = Digits(size=8, split="random")
    module = on_digits(DecisionTree, class_weights=weights)
    trainer().fit(module, data)
    x, y = data.arrays("train")
    given = weights if isinstance(weights, str) else dict(enumerate(weights))
    plain = DecisionTreeClassifier(random_state=0, class_weight=given).fit(x.reshape(len(x), -1), y)
    assert same(module.estimator, plain)


def test_ctrl_c_in_validation_keeps_the_fit(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plain, fits = DecisionTree.validation_step, []
    fit = DecisionTree.fit

    def interrupted(self: Any, *args: Any) -> None:
        if not fits[1:]:
            os.kill(os.getpid(), signal.SIGINT)
        plain(self, *args)

    monkeypatch.setattr(DecisionTree, "validation_step", interrupted)
    monkeypatch.setattr(
        DecisionTree, "fit", lambda self, *args, **options: (fits.append(1), fit(self, *args, **options))
    )
    assert main(["fit", "--model", "DecisionTree", "--data.size", "8", *QUIET]) == 130
    assert "stops when this step is done, and saves; Ctrl-C again aborts at once" in capfd.readouterr().err
    (saved,) = workplace.glob("runs/*/checkpoints/last.ckpt")
    monkeypatch.setattr(DecisionTree, "validation_step", plain)
    assert main(["fit", "--ckpt_path", "last", *QUIET]) == 0
    assert len(fits) == 1, "it is not fitted again"
    row = json.loads((saved.parents[1] / "result.json").read_text())
    x, y = digits("test")
    reference = DecisionTreeClassifier(random_state=0).fit(digits()[0].reshape(-1, 64), digits()[1])
    assert row["accuracy"]["test"] == pytest.approx(reference.score(x.reshape(len(x), -1), y))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_fit_under_way_is_left_at_once(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """As one in scikit-learn's compiled code, which no signal reaches; nothing is saved of it."""
    goes_on = threading.Event()

    def fit(self: Any, *args: Any, **options: Any) -> None:
        os.kill(os.getpid(), number)
        goes_on.wait(60)

    monkeypatch.setattr(DecisionTree, "fit", fit)
    begun = time.monotonic()
    assert main(["fit", "--model", "DecisionTree", "--data.size", "8", *QUIET]) == code
    assert time.monotonic() - begun < 50
    goes_on.set()
    assert not list(workplace.glob("runs/*/checkpoints/*"))


def test_settings_of_scikit_learn_go_with_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    found, plain = list[Any](), DecisionTree.fit

    def fit(self: DecisionTree, *args: Any, **options: Any) -> None:
        found.append(sklearn.get_config()["assume_finite"])
        plain(self, *args, **options)

    monkeypatch.setattr(DecisionTree, "fit", fit)
    with sklearn.config_context(assume_finite=True):
        trainer().fit(on_digits(DecisionTree), Digits(size=8))
    assert found == [True]


class TestWarnings:
    def test_no_convergence_is_shown_each_time(self) -> None:
        # a filter that ignores, as Lightning's users set them, and Python's "once a place" would hide it
        module = on_digits(LogisticRegression, max_iter=2)
        for _ in range(2):
            with warnings.catch_warnings(record=True) as shown:
                warnings.simplefilter("ignore")
                module.fit(*digits())
            assert [each.category for each in shown] == [ConvergenceWarning]

    def test_the_filters_of_the_user_are_left_alone(self) -> None:
        before = list(warnings.filters)
        on_digits(GaussianNB).fit(*digits())
        assert warnings.filters == before

    @pytest.mark.filterwarnings("always::sklearn.exceptions.ConvergenceWarning")
    def test_the_command_line_shows_it(self, workplace: Path) -> None:
        with pytest.warns(ConvergenceWarning, match="converge"):
            assert main(["fit", "--model", "LinearSVM", "--model.max_iter", "2", "--data.size", "8", *QUIET]) == 0


class TestHeartbeat:
    def test_it_beats_until_the_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        threads = threading.active_count()
        with heartbeat("waiting for it", every=0.01):
            time.sleep(0.2)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) >= 3
        assert all(re.fullmatch(r"waiting for it: \d+ s", line) for line in lines)
        assert threading.active_count() == threads
        time.sleep(0.05)
        assert capsys.readouterr().out == ""

    def test_it_stops_at_an_error(self) -> None:
        threads = threading.active_count()
        with pytest.raises(ZeroDivisionError), heartbeat("failing", every=0.01):
            _ = 1 / 0
        assert threading.active_count() == threads

    def test_what_is_quick_says_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        with heartbeat("quick"):
            pass
        assert capsys.readouterr().out == ""

    def test_fits_have_one(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mcubench.baselines.base.heartbeat", lambda what: heartbeat(what, every=0.01))
        with pytest.warns(ConvergenceWarning):
            on_digits(SklearnMLP, max_samples=1000).fit(*digits())
        assert "fitting SklearnMLP on 1,000 samples: 0 s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("LogisticRegression --model.c -1", ["'C' parameter of LogisticRegression", "Got -1.0"]),
        ("LinearSVM --model.c 0", ["'C' parameter of LinearSVC", "Got 0.0"]),
        ("KNN --model.neighbours 0", ["neighbours must be at least 1, got 0"]),
        ("DecisionTree --model.max_depth 0", ["'max_depth' parameter", "Got 0"]),
        ("DecisionTree --model.min_samples_leaf 0", ["'min_samples_leaf' parameter", "Got 0"]),
        ("DecisionTree --model.criterion ginny", ["--model.criterion: expected gini or entropy or log_loss, got 'gin"]),
        ("SVM --model.kernel rbff", ["--model.kernel: expected rbf or poly or sigmoid or linear, got 'rbff'"]),
        ("SVM --model.gamma -1", ["'gamma' parameter of SVC", "Got -1.0"]),
        ("RandomForest --model.trees 0", ["'n_estimators' parameter", "Got 0"]),
        ("ExtraTrees --model.tree 3", ["ExtraTrees has no option 'tree'", "Did you mean 'trees'"]),
        ("GaussianNB --model.var_smoothing -1", ["'var_smoothing' parameter of GaussianNB", "Got -1.0"]),
        ("SklearnMLP --model.hidden [0]", ["hidden_layer_sizes must be > 0, got [0]"]),
        ("SklearnMLP --model.activation relux", ["--model.activation: expected relu or tanh", "got 'relux'"]),
        ("DecisionTree --model.seed -1", ["'random_state' parameter", "Got -1"]),
        ("DecisionTree --model.max_samples 5", ["max_samples must be at least 10, one a class; got 5"]),
        ("DecisionTree --model.max_sampels 5", ["no option 'max_sampels'", "Did you mean 'max_samples'"]),
        ("DecisionTree --model.class_weights [1,2]", ["class_weights needs 10 numbers, got 2"]),
        ("KNN --model.class_weights balanced", ["takes no weights of samples"]),
        ("DecisionTree --model.learning_rate 1", ["DecisionTree has no option 'learning_rate'", "max_depth"]),
        ("DecisonTree", ["there is no such class", "Did you mean 'DecisionTree'"]),
        ("DecisionTree --trainer.max_epochs 0", ["max_epochs and max_steps must not be 0"]),
        ("DecisionTree --trainer.gradient_clip_val 1", ["Automatic gradient clipping is not supported"]),
    ],
)
def test_wrong_options_are_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], args: str, parts: list[str]
) -> None:
    line = failure(capsys, "fit", "--model", *args.split(), "--data", "Digits", "--data.size", "8", *QUIET)
    for part in parts:
        assert part in line
    assert not list(workplace.rglob("*.ckpt"))
    assert not list(workplace.rglob("result.json"))


def test_more_neighbours_than_samples_are_one_line(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, "fit", "--model", "KNN", "--model.neighbours", "5000", "--data.size", "8", *QUIET)
    assert "n_neighbors = 5000, n_samples_fit = 1149" in line


def test_no_hidden_layer_is_none_or_refused() -> None:
    # scikit-learn's MLPClassifier(()) is a linear model, as mcubench.models.MLP(hidden=()) is
    module = on_digits(SklearnMLP, hidden=[])
    assert module.make().hidden_layer_sizes == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: lightning_callbacks.StochasticWeightAveraging(0.1),
        lightning_callbacks.EMAWeightAveraging,
        lightning_callbacks.LearningRateFinder,
        lightning_callbacks.BatchSizeFinder,
        lightning_callbacks.BackboneFinetuning,
        lambda: lightning_callbacks.ModelPruning("l1_unstructured"),
        lambda: lightning_callbacks.GradientAccumulationScheduler({0: 2}),
        lambda: ImageAugmentation(shift=1),
        Mixup,
        lambda: Distillation(torch.nn.Linear(4, 2)),
    ],
)
def test_callbacks_for_networks_are_refused_before_anything_begins(make: Callable[[], pl.Callback]) -> None:
    """They would have no effect, which nobody would see, or break in the middle; scoring a fitted one is no fit."""
    callback, data, model = make(), Digits(size=8), on_digits(DecisionTree)
    with pytest.raises(UserError, match=f"{type(callback).__name__} is for networks.*DecisionTree is a classical"):
        trainer(callbacks=[callback]).fit(model, data)
    assert not model.is_fitted
    trainer().fit(model, data)
    if isinstance(callback, Mixup):
        trainer(callbacks=[callback]).validate(model, data, verbose=False)
