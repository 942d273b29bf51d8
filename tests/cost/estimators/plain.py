"""Estimators evaluated in plain loops, on numbers that count what is done with them and arrays that count their bytes.

A second way to predictions, operations and storage: of fitted estimators only the fitted attributes are read, and
nothing of what is tested is imported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tests.features.plain import Counted, Tally, settle

Values = list[Counted]
Transform = Callable[[Values], Values]
Classify = Callable[[Values], int]


@dataclass(frozen=True)
class Measured:
    """What one prediction was and took."""

    prediction: Any
    macs: int
    comparisons: int
    functions: int
    products: int


class Plain:
    """An estimator as a device would hold it, with float32 numbers.

    Attributes:
        bytes: What was kept of the estimator.
    """

    def __init__(self, estimator: Any) -> None:
        self.tally = Tally()
        self.bytes = 0
        self.classes = estimator.classes_
        self.evaluate: Classify = self.classifier(estimator)

    def predict(self, row: Sequence[float]) -> Measured:
        self.tally.running = counts = Counter()
        chosen = self.evaluate([self.number(float(value)) for value in row])
        functions = sum(counts[name] for name in ("functions", "roots", "divisions", "arccosines"))
        return Measured(
            self.classes[chosen], counts["macs"], counts["comparisons"], functions, counts["multiplications"]
        )  # fmt: skip

    # Numbers

    def keep(self, values: Any, width: int = 4) -> Any:
        """Stores an array, with so many bytes an element."""
        self.bytes += np.size(values) * width
        return np.asarray(values).tolist()

    def number(self, value: float) -> Counted:
        return Counted(value, self.tally)

    def function(self, name: Callable[[float], float], x: Counted) -> Counted:
        return x._done("functions", name(float(x)))

    def sum_of(self, terms: Any, start: float = 0.0) -> Counted:
        total = self.number(start)
        for term in terms:
            total = total + term
        return total

    def dense(self, weights: Any, biases: Any = None) -> Transform:
        w = self.keep(weights)
        b = [0.0] * len(w) if biases is None or not np.any(biases) else self.keep(biases)

        def apply(x: Values) -> Values:
            return [
                self.sum_of((each * v for each, v in zip(row, x, strict=True)), bias)
                for row, bias in zip(w, b, strict=True)
            ]

        return apply

    def largest(self, scores: Values) -> int:
        """The first of the largest; of one score, whether it is above 0."""
        if len(scores) == 1:
            return int(scores[0] > 0.0)
        best = 0
        for index in range(1, len(scores)):
            if scores[index] > float(scores[best]):
                best = index
        return best

    # Estimators by the name of their class

    def classifier(self, estimator: Any) -> Classify:
        if type(estimator).__name__ == "Pipeline":
            *before, last = [step for _, step in estimator.steps]
            transforms = [self.transformer(step) for step in before if step != "passthrough"]
            end = self.classifier(last)
            return lambda x: end(self.chain(transforms, x))
        return {
            "SVC": self.kernel_machine,
            "NuSVC": self.kernel_machine,
            "DecisionTreeClassifier": self.tree,
            "ExtraTreeClassifier": self.tree,
            "RandomForestClassifier": self.forest,
            "ExtraTreesClassifier": self.forest,
            "GradientBoostingClassifier": self.boosted,
            "HistGradientBoostingClassifier": self.histogram_boosted,
            "KNeighborsClassifier": self.neighbours,
            "GaussianNB": self.gaussian,
            "BernoulliNB": self.bernoulli,
            "MultinomialNB": self.multinomial,
            "MLPClassifier": self.perceptron,
        }.get(type(estimator).__name__, self.linear)(estimator)

    def transformer(self, estimator: Any) -> Transform:
        return {
            "Pipeline": lambda pipe: partial(self.chain, [self.transformer(step) for _, step in pipe.steps]),
            "StandardScaler": self.standard,
            "RobustScaler": self.robust,
            "MaxAbsScaler": self.largest_one,
            "MinMaxScaler": self.range,
            "Normalizer": self.unit_length,
            "PCA": self.pca,
            "Nystroem": self.nystroem,
            "RBFSampler": self.random_features,
            "SelectKBest": self.selection,
            "VarianceThreshold": self.selection,
        }[type(estimator).__name__](estimator)

    def chain(self, transforms: list[Transform], x: Values) -> Values:
        for transform in transforms:
            x = settle(transform(x))
        return x

    def linear(self, estimator: Any) -> Classify:
        scores = self.dense(np.atleast_2d(estimator.coef_), np.atleast_1d(estimator.intercept_))
        return lambda x: self.largest(scores(x))

    def kernel(self, name: str, vectors: Any, gamma: float, coef0: float, degree: float) -> Transform:
        if name == "rbf":
            kept = self.keep(vectors)

            def squares(x: Values, vector: list[float]) -> Counted:
                differences = (a - b for a, b in zip(x, vector, strict=True))
                return self.sum_of(d * d for d in differences)

            return lambda x: [self.function(math.exp, -gamma * squares(x, vector)) for vector in kept]
        dots = self.dense(gamma * np.asarray(vectors))
        start = self.keep(coef0)  # added to the sum, once for every vector
        end = math.tanh if name == "sigmoid" else lambda value: value**degree
        return lambda x: [self.function(end, self.number(float(dot) + start)) for dot in dots(x)]

    def kernel_machine(self, estimator: Any) -> Classify:
        classes = len(estimator.classes_)
        pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
        if estimator.kernel == "linear":
            decide = self.dense(estimator.coef_, estimator.intercept_)
        else:
            kernel = self.kernel(
                estimator.kernel, estimator.support_vectors_, estimator._gamma, estimator.coef0, estimator.degree
            )
            coefficients, biases = self.keep(estimator.dual_coef_), self.keep(estimator.intercept_)
            ends = [0, *np.cumsum(estimator.n_support_).tolist()]

            def decide(x: Values) -> Values:
                values = settle(kernel(x))
                found = []
                for (i, j), bias in zip(pairs, biases, strict=True):
                    own = [(coefficients[j - 1][v], values[v]) for v in range(ends[i], ends[i + 1])]
                    others = [(coefficients[i][v], values[v]) for v in range(ends[j], ends[j + 1])]
                    found.append(self.sum_of((c * value for c, value in own + others), bias))
                return found

        def classify(x: Values) -> int:
            decisions = decide(x)
            if len(decisions) == 1:
                return self.largest(decisions)
            votes = [self.number(0.0) for _ in range(classes)]
            for (i, j), decision in zip(pairs, decisions, strict=True):
                winner = i if decision > 0.0 else j
                votes[winner] = votes[winner] + 1
            return self.largest(votes)

        return classify

    # Trees: laid out as documented, and walked there

    def packed(self, trees: Sequence[dict[str, Any]]) -> list[Callable[[Values], int]]:
        """Stores the splits of trees; what it returns gives the number of a sample's leaf in each, as stored."""
        words: list[tuple[int, int, int]] = []
        thresholds: list[float] = []
        starts = []

        def visit(tree: dict[str, Any], node: int) -> int:  # preorder; how many splits there are below and at a node
            if tree["left"][node] < 0:
                tree["leaves"].append(node)
                return 0
            place = len(words)
            words.append((0, 0, 0))
            thresholds.append(tree["threshold"][node])
            left, right = visit(tree, tree["left"][node]), visit(tree, tree["right"][node])
            words[place] = (int(tree["feature"][node]), int(right == 0), left)
            return 1 + left + right

        for tree in trees:
            starts.append(len(words))
            tree["leaves"] = []
            visit(tree, 0)
        columns = list(zip(*words, strict=True))
        for_feature, for_left = len(f"{max(columns[0]):b}"), len(f"{max(columns[2]):b}")
        bits = for_feature + 1 + for_left
        stored = self.keep(
            [feature | end << for_feature | left << (for_feature + 1) for feature, end, left in words],
            2 if bits <= 16 else 4,
        )
        kept = self.keep(thresholds)
        if len(trees) > 1:
            self.keep([*starts, len(words)], 2 if len(words) < 65_536 else 4)

        def walk(x: Values, split: int, leaf: int = 0) -> int:
            while True:
                feature = stored[split] & ((1 << for_feature) - 1)
                end, left = stored[split] >> for_feature & 1, stored[split] >> (for_feature + 1)
                if x[feature] > kept[split]:
                    leaf += left + 1
                    if end:
                        return leaf
                    split += left
                elif left == 0:
                    return leaf
                split += 1

        return [partial(walk, split=start) for start in starts]

    def sklearn_trees(self, estimators: Sequence[Any]) -> list[tuple[Callable[[Values], int], Any]]:
        """How to walk trees, and what their leaves have."""
        found = [
            {
                "left": each.tree_.children_left.tolist(),
                "right": each.tree_.children_right.tolist(),
                "feature": each.tree_.feature.tolist(),
                "threshold": each.tree_.threshold.tolist(),
            }
            for each in estimators
        ]
        walks = self.packed(found)
        return [
            (walk, each.tree_.value[tree["leaves"], 0])
            for walk, each, tree in zip(walks, estimators, found, strict=True)
        ]

    def tree(self, estimator: Any) -> Classify:
        ((walk, values),) = self.sklearn_trees([estimator])
        classes = self.keep(values.argmax(1), 1)
        return lambda x: classes[walk(x)]

    def forest(self, estimator: Any) -> Classify:
        classes = len(estimator.classes_)
        rows: dict[tuple[float, ...], int] = {}
        walks, numbers = [], []
        for walk, values in self.sklearn_trees(estimator.estimators_):
            walks.append(walk)
            found = []
            for row in values.tolist():
                pure = [label for label, share in enumerate(row) if share == 1]
                found.append(pure[0] if pure else rows.setdefault(tuple(row), classes + len(rows)))
            numbers.append(found)
        width = 1 if classes + len(rows) <= 256 else 2
        numbers = [self.keep(found, width) for found in numbers]
        table = self.keep(list(rows)) if rows else []

        def classify(x: Values) -> int:
            sums = [self.number(0.0) for _ in range(classes)]
            for walk, found in zip(walks, numbers, strict=True):
                number = found[walk(x)]
                if number < classes:
                    sums[number] = sums[number] + 1
                else:
                    sums = [a + b for a, b in zip(sums, table[number - classes], strict=True)]
            return self.largest(sums)

        return classify

    def added(self, trees: Any, start: list[float], at_zero: int) -> Classify:
        """Values of trees, one a score and iteration, added to the start."""
        biases = self.keep(start)

        def classify(x: Values) -> int:
            scores = [self.number(bias) for bias in biases]
            for iteration in trees:
                scores = [score + leaves[walk(x)] for score, (walk, leaves) in zip(scores, iteration, strict=True)]
            if len(scores) == 1 and at_zero:
                return int(not scores[0] < 0.0)
            return self.largest(scores)

        return classify

    def boosted(self, estimator: Any) -> Classify:
        found = self.sklearn_trees(list(np.ravel(estimator.estimators_)))
        leaves = [(walk, self.keep(estimator.learning_rate * values[:, 0])) for walk, values in found]
        scores = estimator.estimators_.shape[1]
        trees = [leaves[start : start + scores] for start in range(0, len(leaves), scores)]
        prior = estimator.init_.class_prior_
        start = [math.log(prior[1] / prior[0])] if len(prior) == 2 else np.log(prior)
        return self.added(trees, start, at_zero=1)

    def histogram_boosted(self, estimator: Any) -> Classify:
        predictors = [each for iteration in estimator._predictors for each in iteration]
        found = []
        for each in predictors:
            nodes = each.nodes
            found.append(
                {
                    "left": np.where(nodes["is_leaf"] == 1, -1, nodes["left"].astype(int)).tolist(),
                    "right": nodes["right"].tolist(),
                    "feature": nodes["feature_idx"].tolist(),
                    "threshold": nodes["num_threshold"].tolist(),
                }
            )
        walks = self.packed(found)
        leaves = [
            (walk, self.keep(each.nodes["value"][tree["leaves"]]))
            for walk, each, tree in zip(walks, predictors, found, strict=True)
        ]
        scores = len(estimator._predictors[0])
        trees = [leaves[start : start + scores] for start in range(0, len(leaves), scores)]
        return self.added(trees, estimator._baseline_prediction[0].tolist(), at_zero=0)

    # The others

    def neighbours(self, estimator: Any) -> Classify:
        samples, labels = self.keep(estimator._fit_X), self.keep(estimator._y, 1)
        k, classes = estimator.n_neighbors, len(estimator.classes_)

        def classify(x: Values) -> int:
            best: list[tuple[Counted, int]] = []
            for sample, label in zip(samples, labels, strict=True):
                differences = (a - b for a, b in zip(x, sample, strict=True))
                new = (self.sum_of(d * d for d in differences), label)
                for slot in range(len(best)):
                    if new[0] < float(best[slot][0]):
                        best[slot], new = new, best[slot]
                if len(best) < k:
                    best.append(new)
            votes = [self.number(0.0) for _ in range(classes)]
            if estimator.weights == "distance":
                assert all(distance > 0.0 for distance, _ in best)
            for distance, label in best:
                vote = 1.0 / float(distance.sqrt()) if estimator.weights == "distance" else 1.0
                if estimator.weights == "distance":
                    self.tally.running["divisions"] += 1
                votes[label] = votes[label] + vote
            return self.largest(votes)

        return classify

    def gaussian(self, estimator: Any) -> Classify:
        means, factors = self.keep(estimator.theta_), self.keep(-0.5 / estimator.var_)
        constants = np.log(estimator.class_prior_) - 0.5 * np.log(2 * np.pi * estimator.var_).sum(1)
        biases = self.keep(constants)

        def score(x: Values, label: int) -> Counted:
            deviations = (v - mean for v, mean in zip(x, means[label], strict=True))
            squares = (settle(d * d) for d in deviations)
            return self.sum_of((f * s for f, s in zip(factors[label], squares, strict=True)), biases[label])

        return lambda x: self.largest([score(x, label) for label in range(len(biases))])

    def multinomial(self, estimator: Any) -> Classify:
        scores = self.dense(estimator.feature_log_prob_, estimator.class_log_prior_)
        return lambda x: self.largest(scores(x))

    def bernoulli(self, estimator: Any) -> Classify:
        absent = np.log(1 - np.exp(estimator.feature_log_prob_))
        scores = self.dense(estimator.feature_log_prob_ - absent, estimator.class_log_prior_ + absent.sum(1))
        return lambda x: self.largest(scores([self.number(float(v > estimator.binarize)) for v in x]))

    def perceptron(self, estimator: Any) -> Classify:
        layers = [self.dense(w.T, b) for w, b in zip(estimator.coefs_, estimator.intercepts_, strict=True)]
        activation: Callable[[float], float] = {  # uncounted, as in networks
            "relu": lambda z: max(z, 0.0),
            "tanh": math.tanh,
            "logistic": lambda z: 1 / (1 + math.exp(-z)),
            "identity": lambda z: z,
        }[estimator.activation]

        def classify(x: Values) -> int:
            for layer in layers[:-1]:
                x = [self.number(activation(float(z))) for z in layer(x)]
            return self.largest(layers[-1](x))

        return classify

    # Transformers

    def standard(self, estimator: Any) -> Transform:
        return self.centred(
            estimator.mean_ if estimator.with_mean else None, estimator.scale_ if estimator.with_std else None
        )

    def robust(self, estimator: Any) -> Transform:
        return self.centred(
            estimator.center_ if estimator.with_centering else None,
            estimator.scale_ if estimator.with_scaling else None,
        )

    def largest_one(self, estimator: Any) -> Transform:
        return self.centred(None, estimator.scale_)

    def centred(self, centre: Any, scale: Any) -> Transform:
        means = None if centre is None else self.keep(centre)
        factors = None if scale is None else self.keep(1 / scale)

        def apply(x: Values) -> Values:
            if means is not None:
                x = [v - mean for v, mean in zip(x, means, strict=True)]
            return x if factors is None else [v * factor for v, factor in zip(x, factors, strict=True)]

        return apply

    def range(self, estimator: Any) -> Transform:
        zeros, factors = self.keep(-estimator.min_ / estimator.scale_), self.keep(estimator.scale_)
        low, high = estimator.feature_range

        def clip(value: Counted) -> Counted:
            raised = low if value < low else float(value)
            return self.number(high if self.number(raised) > high else raised)

        def apply(x: Values) -> Values:
            scaled = [(v - zero) * factor for v, zero, factor in zip(x, zeros, factors, strict=True)]
            return [clip(v) for v in scaled] if estimator.clip else scaled

        return apply

    def unit_length(self, estimator: Any) -> Transform:
        def apply(x: Values) -> Values:
            length = self.sum_of(v * v for v in x).sqrt()
            inverse = self.number(1.0) / length
            return [v * inverse for v in x]

        return apply

    def pca(self, estimator: Any) -> Transform:
        scale = np.sqrt(estimator.explained_variance_) if estimator.whiten else np.ones(len(estimator.components_))
        components = estimator.components_ / scale[:, None]
        return self.dense(components, -components @ estimator.mean_)

    def nystroem(self, estimator: Any) -> Transform:
        gamma = estimator.gamma or 1 / estimator.n_features_in_
        kernel = self.kernel(estimator.kernel, estimator.components_, gamma, 1.0, 3.0)
        projection = self.dense(estimator.normalization_)
        return lambda x: projection(settle(kernel(x)))

    def random_features(self, estimator: Any) -> Transform:
        dots = self.dense(estimator.random_weights_.T, estimator.random_offset_)
        factor = math.sqrt(2 / estimator.n_components)
        return lambda x: [self.function(math.cos, dot) * factor for dot in dots(x)]

    def selection(self, estimator: Any) -> Transform:
        indices = self.keep(np.flatnonzero(estimator.get_support()), 1 if estimator.n_features_in_ <= 256 else 2)
        return lambda x: [x[index] for index in indices]
