"""Naive Bayes.

Formulas: ``_joint_log_likelihood`` of scikit-learn's naive_bayes.py, with all that depends on the model alone computed
ahead: a normal distribution needs (x - mean)^2 times -1 / (2 variance) a class and feature, and a constant a class;
counts and bits are a dense layer of log probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB

from mcubench.cost.estimators.stages import (
    Affine,
    Numbers,
    Stage,
    Stages,
    Stored,
    argmax,
    classifying,
    dense,
    kept,
)

__all__ = ["Gaussian"]


@dataclass(frozen=True)
class Gaussian:
    """The sum over features of f (x - m)^2, and a constant, for each class."""

    def __call__(self, x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        """Scores (N, classes) of x (N, features)."""
        rows = zip(numbers["means"], numbers["factors"], strict=True)
        return np.stack([np.square(x - mean) @ factor for mean, factor in rows], axis=1) + numbers["bias"]


@classifying.register
def _gaussian(estimator: GaussianNB) -> Stages:
    classes, features = estimator.theta_.shape
    constants = np.log(estimator.class_prior_) - 0.5 * np.log(2 * np.pi * estimator.var_).sum(1)
    stored = (
        kept("means", estimator.theta_, rounding="input"),
        kept("factors", -0.5 / estimator.var_),
        kept("bias", constants, "bias"),
        Stored("requantisation", "requantisation", classes),
    )

    return (
        Stage(
            "GaussianNB",
            outputs=classes,
            macs=classes * features,
            comparisons=argmax(classes),
            products=classes * features,  # the squares
            bias_adds=classes,
            stored=stored,
            compute=Gaussian(),
        ),
    )


@classifying.register
def _multinomial(estimator: MultinomialNB) -> Stages:
    weight = estimator.feature_log_prob_
    return (_counts("MultinomialNB", weight, estimator.class_log_prior_, comparisons=argmax(len(weight))),)


@classifying.register
def _bernoulli(estimator: BernoulliNB) -> Stages:
    """Of a feature that is 0 the probability counts that it is 0: with p of 1, log p - log(1 - p) a feature that is."""
    classes, features = estimator.feature_log_prob_.shape
    absent = np.log(1 - np.exp(estimator.feature_log_prob_))
    threshold = estimator.binarize

    def compute(x: NDArray[Any], numbers: Numbers) -> NDArray[Any]:
        return Affine()(x if threshold is None else (x > threshold).astype(x.dtype), numbers)

    comparisons = argmax(classes) + (0 if threshold is None else features)
    weight, bias = estimator.feature_log_prob_ - absent, estimator.class_log_prior_ + absent.sum(1)
    return (_counts("BernoulliNB", weight, bias, comparisons=comparisons, compute=compute),)


def _counts(op: str, weight: NDArray[Any], bias: NDArray[Any], **more: Any) -> Stage:
    """A dense layer of log probabilities, whose bias is never left out."""
    stage = dense(op, weight, np.ones(len(bias)), **more)
    shifted = (replace(each, values=bias) if each.name == "bias" else each for each in stage.stored)
    return replace(stage, stored=tuple(shifted))
