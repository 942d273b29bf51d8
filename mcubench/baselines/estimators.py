"""Estimators of scikit-learn's, each with the options that matter here."""

from __future__ import annotations

from typing import Any, Literal

from sklearn import ensemble, linear_model, naive_bayes, neighbors, neural_network, svm, tree
from sklearn.base import BaseEstimator

from mcubench.baselines.base import Baseline
from mcubench.errors import UserError
from mcubench.search.space import Choice, Number, Space, Whole

__all__ = [
    "KNN",
    "SVM",
    "DecisionTree",
    "ExtraTrees",
    "GaussianNB",
    "LinearSVM",
    "LogisticRegression",
    "RandomForest",
    "SklearnMLP",
]

Criterion = Literal["gini", "entropy", "log_loss"]


class DecisionTree(Baseline):
    """A decision tree: one comparison a level.

    Args:
        max_depth: Levels at most; not set, until every leaf is pure.
        min_samples_leaf: Training samples that a leaf has at least.
        criterion: What a split should lower.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """How deep it grows."""
        return {"max_depth": Whole(2, 24), "min_samples_leaf": Whole(1, 64, log=True)}

    def __init__(
        self, max_depth: int | None = None, min_samples_leaf: int = 1, criterion: Criterion = "gini", **options: Any
    ) -> None:
        super().__init__(**options)
        self.options = {"max_depth": max_depth, "min_samples_leaf": min_samples_leaf, "criterion": criterion}

    def make(self) -> BaseEstimator:
        """A new tree."""
        return tree.DecisionTreeClassifier(**self.options, random_state=self.random_state)


class RandomForest(Baseline):
    """A random forest: trees on samples drawn with replacement, splits among random features; probabilities averaged.

    Args:
        trees: Number of trees.
        max_depth: Levels of each at most; not set, until every leaf is pure.
        min_samples_leaf: Training samples that a leaf has at least.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    forest: type[BaseEstimator] = ensemble.RandomForestClassifier

    @classmethod
    def search_space(cls) -> Space:
        """How many trees, and how deep they grow."""
        return {"trees": Whole(1, 64, log=True), "max_depth": Whole(2, 16), "min_samples_leaf": Whole(1, 32, log=True)}

    def __init__(
        self, trees: int = 100, max_depth: int | None = None, min_samples_leaf: int = 1, **options: Any
    ) -> None:
        super().__init__(**options)
        self.options = {"n_estimators": trees, "max_depth": max_depth, "min_samples_leaf": min_samples_leaf}

    def make(self) -> BaseEstimator:
        """A new forest."""
        return self.forest(**self.options, random_state=self.random_state, n_jobs=-1)


class ExtraTrees(RandomForest):
    """Extremely randomised trees: as `RandomForest`, but on all samples and with random thresholds.

    Args:
        **options: Those of `RandomForest`.
    """

    forest = ensemble.ExtraTreesClassifier

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)


class LinearSVM(Baseline):
    """A linear support vector machine, one class against all others (liblinear): one dot product a class.

    Args:
        c: Cost of a wrong training sample.
        max_iter: Iterations at most.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """The cost of a wrong sample."""
        return {"c": Number(1e-3, 1e1, log=True)}

    def __init__(self, c: float = 1.0, max_iter: int = 1000, **options: Any) -> None:
        super().__init__(**options)
        self.options = {"C": c, "max_iter": max_iter}

    def make(self) -> BaseEstimator:
        """A new machine."""
        return svm.LinearSVC(**self.options, random_state=self.random_state)


class SVM(Baseline):
    """A support vector machine with a kernel, each pair of classes against each other (libsvm).

    It stores its support vectors: of a large training set, thousands. ``--model.max_samples`` bounds them.

    Args:
        kernel: ``rbf``, ``poly``, ``sigmoid`` or ``linear``.
        c: Cost of a wrong training sample.
        gamma: Factor in the kernel; ``scale`` is 1 / (features * variance).
        degree: Of ``poly``.
        cache_mb: Memory for kernel values while training, in MB.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """How many samples it may store as vectors, and how they are weighed."""
        return {
            "c": Number(1e-1, 1e2, log=True),
            "gamma": Number(1e-4, 1e-1, log=True),
            "max_samples": Whole(100, 3000, log=True),
        }

    def __init__(
        self,
        kernel: Literal["rbf", "poly", "sigmoid", "linear"] = "rbf",
        c: float = 1.0,
        gamma: float | Literal["scale", "auto"] = "scale",
        degree: int = 3,
        cache_mb: int = 1000,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.options = {"kernel": kernel, "C": c, "gamma": gamma, "degree": degree, "cache_size": cache_mb}

    def make(self) -> BaseEstimator:
        """A new machine."""
        return svm.SVC(**self.options, random_state=self.random_state)


class LogisticRegression(Baseline):
    """Multinomial logistic regression (L-BFGS): one dot product a class.

    Args:
        c: Inverse strength of the L2 penalty.
        max_iter: Iterations at most.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """The strength of its penalty."""
        return {"c": Number(1e-3, 1e1, log=True)}

    def __init__(self, c: float = 1.0, max_iter: int = 200, **options: Any) -> None:
        super().__init__(**options)
        self.options = {"C": c, "max_iter": max_iter}

    def make(self) -> BaseEstimator:
        """A new regression."""
        return linear_model.LogisticRegression(**self.options, random_state=self.random_state)


class KNN(Baseline):
    """The majority among the nearest training samples, which are all stored.

    Args:
        neighbours: How many.
        weights: Whether all count alike, or by the inverse of their distance.
        **options: ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """How many neighbours it asks, of how many samples."""
        return {
            "neighbours": Whole(1, 9),
            "weights": Choice(("uniform", "distance")),
            "max_samples": Whole(100, 3000, log=True),
        }

    def __init__(
        self, neighbours: int = 5, weights: Literal["uniform", "distance"] = "uniform", **options: Any
    ) -> None:
        super().__init__(**options)
        if neighbours < 1:
            raise UserError(f"neighbours must be at least 1, got {neighbours}")
        self.options = {"n_neighbors": neighbours, "weights": weights}

    def make(self) -> BaseEstimator:
        """A new classifier that compares with every stored sample, as a device would."""
        return neighbors.KNeighborsClassifier(**self.options, algorithm="brute")


class GaussianNB(Baseline):
    """Naive Bayes with one normal distribution a class and feature.

    Args:
        var_smoothing: Share of the largest variance that is added to all.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """How far variances are smoothed."""
        return {"var_smoothing": Number(1e-9, 1e-1, log=True)}

    def __init__(self, var_smoothing: float = 1e-9, **options: Any) -> None:
        super().__init__(**options)
        self.var_smoothing = var_smoothing

    def make(self) -> BaseEstimator:
        """A new classifier."""
        return naive_bayes.GaussianNB(var_smoothing=self.var_smoothing)


class SklearnMLP(Baseline):
    """scikit-learn's multi-layer perceptron, trained with Adam: the same network as `mcubench.models.MLP`.

    Args:
        hidden: Neurons of the hidden layers.
        activation: Behind each hidden layer.
        learning_rate: Of Adam.
        alpha: Strength of the L2 penalty.
        epochs: Passes over the training part at most; fewer if the loss stops falling.
        **options: ``class_weights``, ``max_samples`` and ``seed`` of `Baseline`.
    """

    @classmethod
    def search_space(cls) -> Space:
        """Neurons of one hidden layer or two, and how it learns."""
        return {
            "hidden": Choice(tuple([width] * layers for layers in (1, 2) for width in (4, 8, 16, 32, 64, 128))),
            "learning_rate": Number(1e-4, 1e-2, log=True),
            "alpha": Number(1e-6, 1e-1, log=True),
        }

    def __init__(
        self,
        hidden: list[int] | None = None,
        activation: Literal["relu", "tanh", "logistic", "identity"] = "relu",
        learning_rate: float = 1e-3,
        alpha: float = 1e-4,
        epochs: int = 20,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.options = {
            "hidden_layer_sizes": tuple([42] if hidden is None else hidden),
            "activation": activation,
            "learning_rate_init": learning_rate,
            "alpha": alpha,
            "max_iter": epochs,
        }

    def make(self) -> BaseEstimator:
        """A new network."""
        return neural_network.MLPClassifier(**self.options, random_state=self.random_state)
