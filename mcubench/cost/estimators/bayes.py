"""Naive Bayes.

Formulas: ``_joint_log_likelihood`` of scikit-learn's naive_bayes.py, with all that depends on the model alone computed
ahead: a normal distribution needs (x - mean)^2 times -1 / (2 variance) a class and feature, and a constant a class;
counts and bits are a dense layer of log probabilities.
"""

from __future__ import annotations

from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB

from mcubench.cost.estimators.stages import Stage, Stages, Stored, argmax, classifying, dense

__all__: list[str] = []


@classifying.register
def _gaussian(estimator: GaussianNB) -> Stages:
    classes, features = estimator.theta_.shape
    stored = (
        Stored("means", "weight", classes * features),
        Stored("factors", "weight", classes * features),
        Stored("bias", "bias", classes),
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
        ),
    )


@classifying.register
def _multinomial(estimator: MultinomialNB) -> Stages:
    classes, features = estimator.feature_log_prob_.shape
    return (dense("MultinomialNB", classes, features, bias=True, comparisons=argmax(classes)),)


@classifying.register
def _bernoulli(estimator: BernoulliNB) -> Stages:
    classes, features = estimator.feature_log_prob_.shape
    bits = features if estimator.binarize is not None else 0
    return (dense("BernoulliNB", classes, features, bias=True, comparisons=bits + argmax(classes)),)
