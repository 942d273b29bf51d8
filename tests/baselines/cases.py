"""Every baseline and every net with options that make it quick, and scikit-learn's own estimator beside each baseline.

A new name in `mcubench.cli.options.names` is tested as it is; a baseline also needs a row here, for what it must agree
with.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from mcubench import baselines, models
from mcubench.baselines import Baseline
from mcubench.baselines.numpy_mlp import NumpyNetwork
from mcubench.cli.main import main
from mcubench.cli.options.names import BASELINES, MODELS
from mcubench.datamodules import Arrays, Digits, TensorDataModule
from mcubench.datamodules.base import Part

HIST = "sklearn.ensemble.HistGradientBoostingClassifier"


class Waves(TensorDataModule):
    """Sines of three frequencies, 32 samples each: signals, for the net that needs them."""

    def __init__(self, batch_size: int = 32, val_fraction: float = 0.2, **options: Any) -> None:
        super().__init__(batch_size=batch_size, val_fraction=val_fraction, **options)
        self.input_shape, self.num_classes, self.class_names = (2, 32), 3, ("slow", "quick", "hasty")

    def load(self) -> tuple[Arrays, Arrays]:
        random = np.random.default_rng(5)
        y = np.arange(300) % 3
        phase = random.uniform(0, 2 * np.pi, (300, 2, 1))
        x = np.sin(phase + np.arange(32) * (y[:, None, None] + 1) / 4) + random.normal(0, 0.3, (300, 2, 32))
        data = Arrays(x.astype(np.float32), y.astype(np.int64))
        return data.take(np.arange(200)), data.take(np.arange(200, 300))


@functools.cache
def _read(kind: type[TensorDataModule]) -> TensorDataModule:
    data = Digits(size=8) if kind is Digits else kind()
    data.setup()
    return data


def digits(part: Part = "train") -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """A part of the digits of 8 x 8 pixels."""
    return _read(Digits).arrays(part)


@dataclass(frozen=True)
class Case:
    """A model by its name on the command line, with its options; `reference` is the same estimator, made plainly."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    reference: Callable[[], BaseEstimator] | None = None
    data: type[TensorDataModule] = Digits

    def __str__(self) -> str:
        given = [str(self.options[name]).rpartition(".")[2] for name in ("estimator", "kernel") if name in self.options]
        return "-".join([self.model, *(path.rpartition(".")[2] for path in self.options.get("before", [])), *given])

    @property
    def args(self) -> list[str]:
        """Options of the command line."""
        args = ["--model", self.model]
        if self.reference is not None:  # in integers it would not agree with it
            args += ["--model.bits", "float32"]
        for name, value in self.options.items():
            args += [f"--model.{name}", yaml.safe_dump(value, default_flow_style=True).partition("\n...")[0].strip()]
        if self.data is Digits:
            return [*args, "--data", "Digits", "--data.size", "8"]
        return [*args, "--data", f"{__name__}.{self.data.__name__}"]

    def read(self) -> TensorDataModule:
        """Its data, as the command line makes them; read once, for looking only."""
        return _read(self.data)

    @property
    def kind(self) -> type[Any]:
        """Its class."""
        kind: type[Any] = getattr(models if self.model in MODELS else baselines, self.model)
        return kind

    def make(self, **options: Any) -> Any:
        """A new module for its data."""
        data = self.read()
        seed = {"seed": 0, "bits": "float32"} if issubclass(self.kind, Baseline) else {}
        shapes = {"input_shape": data.input_shape, "num_classes": data.num_classes}
        return self.kind(**{**shapes, **seed, **self.options, **options})


def _few(kind: type[BaseEstimator]) -> Callable[[], BaseEstimator]:
    return lambda: kind(n_estimators=7, max_depth=8, random_state=0)


_FOREST = {"trees": 7, "max_depth": 8}
_ROWS = {
    "DecisionTree": [
        Case("DecisionTree", {"max_depth": 9}, lambda: DecisionTreeClassifier(max_depth=9, random_state=0))
    ],
    "RandomForest": [Case("RandomForest", _FOREST, _few(RandomForestClassifier))],
    "ExtraTrees": [Case("ExtraTrees", _FOREST, _few(ExtraTreesClassifier))],
    "LinearSVM": [Case("LinearSVM", {"c": 0.1}, lambda: LinearSVC(C=0.1, random_state=0))],
    "SVM": [
        Case("SVM", {"c": 2.0}, lambda: SVC(C=2)),
        Case("SVM", {"kernel": "poly", "degree": 2}, lambda: SVC(kernel="poly", degree=2)),
    ],
    "LogisticRegression": [Case("LogisticRegression", {"c": 0.5}, lambda: LogisticRegression(C=0.5, max_iter=200))],
    "KNN": [Case("KNN", {"neighbours": 3}, lambda: KNeighborsClassifier(3))],
    "GaussianNB": [Case("GaussianNB", {"var_smoothing": 1e-3}, lambda: GaussianNB(var_smoothing=1e-3))],
    "SklearnMLP": [
        Case(
            "SklearnMLP",
            {"hidden": [30, 12], "epochs": 8},
            lambda: MLPClassifier((30, 12), max_iter=8, random_state=0),
        )
    ],
    "NumpyMLP": [Case("NumpyMLP", {"hidden": [12], "epochs": 5}, lambda: NumpyNetwork((12,), epochs=5))],
    "Sklearn": [
        Case(
            "Sklearn",
            {"estimator": HIST, "arguments": {"max_iter": 5, "max_depth": 3}},
            lambda: HistGradientBoostingClassifier(max_iter=5, max_depth=3, random_state=0),
        ),
        Case(
            "Sklearn",
            {
                "estimator": "sklearn.linear_model.LogisticRegression",
                "before": ["sklearn.preprocessing.StandardScaler", "sklearn.decomposition.PCA"],
                "before_arguments": [{}, {"n_components": 20}],
            },
            lambda: make_pipeline(StandardScaler(), PCA(20, random_state=0), LogisticRegression(random_state=0)),
        ),
    ],
    "LeNet": [Case("LeNet", {"channels": [8], "kernel_size": 3})],
    "CNN1d": [Case("CNN1d", {"channels": [4, 8]}, data=Waves)],
    "DSCNN": [Case("DSCNN", {"channels": 8, "blocks": 1, "learning_rate": 0.03})],
}
CASES = [case for name in (*BASELINES, *MODELS) for case in _ROWS.get(name, [Case(name)])]
ESTIMATORS = [case for case in CASES if issubclass(case.kind, Baseline)]
NETS = [case for case in CASES if case.model in MODELS]


def failure(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """The one line that a failing command prints, after checking that it is one and that the exit code is 2."""
    assert main(args) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcubench: error:")]
    assert len(lines) == 1
    return lines[0]
