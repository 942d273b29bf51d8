"""What predicting one sample with a scikit-learn estimator costs: the one producer of a report that reads no graph."""

# Each of these registers what it prices.
from mcubench.cost.estimators import bayes, linear, neighbours, network, pipelines, scaling, svm, trees  # noqa: F401
from mcubench.cost.estimators.network import perceptron_stages
from mcubench.cost.estimators.pricing import profile_estimator
from mcubench.cost.estimators.stages import (
    STEP,
    NotPricedError,
    Numbers,
    Stage,
    Stages,
    Stored,
    classifying,
    dense,
    kept,
    priced,
    transforming,
)

__all__ = [
    "STEP",
    "NotPricedError",
    "Numbers",
    "Stage",
    "Stages",
    "Stored",
    "classifying",
    "dense",
    "kept",
    "perceptron_stages",
    "priced",
    "profile_estimator",
    "transforming",
]
