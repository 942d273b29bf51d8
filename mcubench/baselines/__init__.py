"""Classical models as LightningModules: scikit-learn's estimators and a network in numpy, under the same Trainer."""

from mcubench._compat import mend_torchvision

mend_torchvision()

from mcubench.baselines.any import Sklearn  # noqa: E402
from mcubench.baselines.base import Baseline  # noqa: E402
from mcubench.baselines.estimators import (  # noqa: E402
    KNN,
    SVM,
    DecisionTree,
    ExtraTrees,
    GaussianNB,
    LinearSVM,
    LogisticRegression,
    RandomForest,
    SklearnMLP,
)
from mcubench.baselines.numpy_mlp import NumpyMLP, NumpyNetwork  # noqa: E402
from mcubench.baselines.storage import TRUSTED  # noqa: E402
from mcubench.cost.estimators import classifying, perceptron_stages  # noqa: E402

classifying.register(NumpyNetwork, perceptron_stages)  # priced as scikit-learn's perceptron, which it resembles

__all__ = [
    "KNN",
    "SVM",
    "TRUSTED",
    "Baseline",
    "DecisionTree",
    "ExtraTrees",
    "GaussianNB",
    "LinearSVM",
    "LogisticRegression",
    "NumpyMLP",
    "RandomForest",
    "Sklearn",
    "SklearnMLP",
]
