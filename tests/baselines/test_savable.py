"""Estimators with search trees are saved without them; what can't be saved is refused before the fit."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

from mcubench.baselines import Sklearn
from mcubench.baselines.any import _check_savable
from mcubench.baselines.storage import read_estimator, write_estimator
from mcubench.cli.main import main
from mcubench.errors import UserError

X = np.random.default_rng(0).normal(size=(90, 5)).astype(np.float32)
Y = np.arange(90) % 3
NEW = np.random.default_rng(1).normal(size=(200, 5)).astype(np.float32)


@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(algorithm="kd_tree", leaf_size=3),
        KNeighborsClassifier(algorithm="ball_tree", metric="minkowski", p=3, weights="distance"),
        KNeighborsClassifier(),
        RadiusNeighborsClassifier(radius=5.0),
        make_pipeline(StandardScaler(), KNeighborsClassifier(algorithm="kd_tree")),
        BaggingClassifier(KNeighborsClassifier(algorithm="kd_tree"), n_estimators=2, random_state=0),
        CalibratedClassifierCV(KNeighborsClassifier(algorithm="kd_tree"), cv=2),
    ],
)
def test_search_trees_are_built_again_and_answer_alike(estimator: Any) -> None:
    estimator.fit(X, Y)
    before = estimator.predict_proba(NEW)
    content = write_estimator(estimator)
    again: Any = read_estimator(content)
    assert np.array_equal(again.predict_proba(NEW), before)
    assert np.array_equal(estimator.predict_proba(NEW), before), "saving leaves the tree where it was"
    assert b"KDTree" not in content.numpy().tobytes()


def test_what_can_not_be_saved_is_refused_before_the_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Sklearn(estimator="sklearn.gaussian_process.GaussianProcessClassifier", input_shape=(5,), num_classes=3)
    seen: list[int] = []
    kind = type(module.make())
    fit = kind.fit
    monkeypatch.setattr(kind, "fit", lambda self, x, y: (seen.append(len(x)), fit(self, x, y))[1])
    with pytest.raises(UserError, match="GaussianProcessClassifier can't be saved: it holds sklearn"):
        module.fit(X, Y)
    assert seen == [18], "six samples of each of three classes"


def test_all_that_is_not_looked_at_before_is_saved() -> None:
    """Every classifier of scikit-learn's that can be made without options."""
    saved = 0
    for name, kind in all_estimators(type_filter="classifier"):
        try:
            estimator = kind()
        except TypeError:  # made of others
            continue
        if kind.__module__.startswith("sklearn.gaussian_process") or name == "SelfTrainingClassifier":
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if name in ("RandomForestClassifier", "ExtraTreesClassifier", "GradientBoostingClassifier"):
                estimator.set_params(n_estimators=2)
            again: Any = read_estimator(write_estimator(estimator.fit(np.abs(X), Y)))
        assert np.array_equal(again.predict(np.abs(X)), estimator.predict(np.abs(X))), name
        saved += 1
    assert saved > 25


def test_too_few_samples_for_its_options_are_no_reason() -> None:
    few = np.array([0, 1, 2])
    _check_savable(KNeighborsClassifier(20, algorithm="kd_tree"), X[few], Y[few])


def test_a_run_of_one_with_a_tree_is_kept_and_measured(workplace: Path) -> None:
    options = ["--model", "Sklearn", "--model.estimator", "sklearn.neighbors.KNeighborsClassifier", "--data.size", "8"]
    tree = ["--model.arguments", "{algorithm: kd_tree}", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", *options, *tree]) == 0
    assert main(["test", "--ckpt_path", "last", "--trainer.enable_progress_bar", "false"]) == 0
    (path,) = Path("runs").glob("*/result.json")
    assert json.loads(path.read_text())["accuracy"]["test"] > 0.9
