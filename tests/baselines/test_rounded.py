"""Estimators with rounded numbers: against scikit-learn in float, and in integers against plain loops on codes."""

from __future__ import annotations

import math
import warnings
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from mcubench.baselines import rounded as module
from mcubench.baselines.rounded import (
    FORMS,
    RoundedEstimator,
    grids_as_numbers,
    grids_from_numbers,
    round_estimator,
)
from mcubench.cost.estimators import Stage, classifying, kept
from mcubench.errors import UserError
from mcubench.graph import deploy, trace
from mcubench.quant.classical import stored
from mcubench.quant.classical.kernels import Neighbours
from mcubench.quant.classical.kernels.base import squared_distances
from mcubench.quant.classical.stored import codes_of
from mcubench.quant.grid import Grid
from mcubench.quant.integer.run import predict
from mcubench.quant.quantize import quantize
from tests.cost.estimators.test_witness import ESTIMATORS, TRAINED, digits, fitted

Array = NDArray[Any]


@cache
def noisy() -> tuple[Array, Array, Array]:
    """Digits between the whole numbers, so that samples lie anywhere: 240 to fit on, others to ask, classes."""
    x, y = digits(10)
    x = x + np.random.default_rng(3).normal(0, 0.7, x.shape).astype(np.float32)
    return x[:TRAINED], x[TRAINED:900], y[:TRAINED]


def codes(x: Array, grid: Grid) -> Array:
    """What a device gets: int8."""
    return np.clip(np.round(x.astype(np.float64) / grid.scale) + grid.zero_point, -128, 127).astype(int)


@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_unrounded_stages_are_scikit_learns(name: str, classes: int) -> None:
    estimator, _ = fitted(name, classes)
    x, _ = digits(classes)
    stages = classifying(estimator)
    values: Any = x.astype(np.float64)
    for stage in stages:
        values = stage.compute(values, {each.name: each.values for each in stage.stored if each.values is not None})  # type: ignore[misc]
        assert values.shape == (len(x), stage.outputs)
    assert np.array_equal(estimator.classes_[stages[-1].decide(values)], estimator.predict(x))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_float32_changes_next_to_nothing_and_16_bits_little(name: str) -> None:
    estimator, _ = fitted(name, 10)
    x, _ = digits(10)
    exact = estimator.predict(x)
    in_float, wide, narrow = (round_estimator(estimator, form, x[:TRAINED]).predict(x) for form in reversed(FORMS))
    assert np.mean(in_float != exact) <= 0.001
    assert np.mean(wide != exact) <= 0.1, "whole numbers lie on the thresholds of trees"
    assert np.mean(narrow == exact) > 0.75


class TestInCodes:
    """int8 on integers alone, in loops that read the estimator's own attributes."""

    def test_a_tree(self) -> None:
        train, asked, y = noisy()
        tree = DecisionTreeClassifier(random_state=0).fit(train, y)
        rounded = round_estimator(tree, "int8", train)
        grid = rounded.grids[0]
        assert grid is not None
        arrays = tree.tree_
        steps = [math.floor(float(t) / grid.scale) + grid.zero_point for t in arrays.threshold]

        def walk(sample: Array) -> int:
            node = 0
            while arrays.children_left[node] >= 0:
                holds = sample[arrays.feature[node]] <= steps[node]
                node = (arrays.children_left if holds else arrays.children_right)[node]
            return int(arrays.value[node, 0].argmax())

        found = rounded.predict(asked)
        assert np.array_equal(found, [walk(each) for each in codes(asked, grid)])
        assert (found != tree.predict(asked)).any(), "rounding does something here"

    def test_a_forest(self) -> None:
        train, asked, y = noisy()
        forest = RandomForestClassifier(9, max_depth=4, random_state=0).fit(train, y)
        rounded = round_estimator(forest, "int8", train)
        grid = rounded.grids[0]
        assert grid is not None
        sums = np.zeros((len(asked), 10), int)
        for each in forest.estimators_:
            arrays = each.tree_
            for row, sample in enumerate(codes(asked, grid)):
                node = 0
                while arrays.children_left[node] >= 0:
                    step = math.floor(float(arrays.threshold[node]) / grid.scale) + grid.zero_point
                    holds = sample[arrays.feature[node]] <= step
                    node = (arrays.children_left if holds else arrays.children_right)[node]
                sums[row] += np.round(127 * arrays.value[node, 0]).astype(int)
        assert np.array_equal(rounded.predict(asked), sums.argmax(1))

    @pytest.mark.parametrize("weights", ["uniform", "distance"])
    def test_neighbours(self, weights: str) -> None:
        """Also where distances are equal: the first of them counts."""
        x, y = digits(10)
        train, asked, y = (
            x[:TRAINED, 20:26],
            x[TRAINED:600, 20:26],
            y[:TRAINED],
        )  # few whole numbers: many equal distances
        nearest = KNeighborsClassifier(4, weights=weights, algorithm="brute").fit(train, y)
        rounded = round_estimator(nearest, "int8", train)
        grid = rounded.grids[0]
        assert grid is not None
        stored, ties = codes(train, grid), 0
        for sample, found in zip(codes(asked, grid), rounded.predict(asked), strict=True):
            distances = ((stored - sample) ** 2).sum(1).tolist()
            order = sorted(range(len(stored)), key=lambda index: (distances[index], index))
            ties += distances[order[3]] == distances[order[4]]
            votes = [0.0] * 10
            for index in order[:4]:
                same = distances[order[0]] == 0
                near = float(distances[index] == 0) if same else 1 / (math.sqrt(distances[index]) or 1)
                votes[y[index]] += 1 if weights == "uniform" else near
            best = max(votes)
            assert votes[found] == pytest.approx(best)
        assert ties > 5

    def test_a_dense_layer(self) -> None:
        train, asked, y = noisy()
        linear = LogisticRegression(max_iter=300).fit(train, y)
        rounded = round_estimator(linear, "int8", train)
        grid, out = rounded.grids
        assert grid is not None
        assert out is not None
        scales = np.abs(linear.coef_).max(1) / 127
        weights = np.round(linear.coef_ / scales[:, None]).astype(int)
        for sample, found in zip(codes(asked, grid), rounded.predict(asked), strict=True):
            sums = (weights * (sample - grid.zero_point)).sum(1)  # int32 on a device
            scores = np.round((sums * scales * grid.scale + linear.intercept_) / out.scale) + out.zero_point
            assert found == np.clip(scores, -128, 127).argmax()

    def test_a_kernel_machine(self) -> None:
        train, asked, y = noisy()
        machine = SVC(C=3.0).fit(train, y)
        rounded = round_estimator(machine, "int8", train)
        grid, middle, out, _ = rounded.grids
        assert grid is not None
        assert middle is not None
        assert out is not None
        stored = codes(machine.support_vectors_, grid)
        scale = np.abs(machine.dual_coef_).max() / 127
        duals = np.round(machine.dual_coef_ / scale).astype(int)
        ends = [0, *np.cumsum(machine.n_support_).tolist()]
        found = rounded.predict(asked[:60])
        for row, sample in enumerate(codes(asked[:60], grid)):
            squares = ((stored - sample) ** 2).sum(1)
            kernel = np.exp(-machine._gamma * grid.scale**2 * squares)
            kernel = np.clip(np.round(kernel / middle.scale), -128 - middle.zero_point, 127 - middle.zero_point)
            votes = [0] * 10
            for (i, j), bias in zip(combinations(range(10), 2), machine.intercept_, strict=True):
                total = (duals[j - 1, ends[i] : ends[i + 1]] * kernel[ends[i] : ends[i + 1]]).sum()
                total += (duals[i, ends[j] : ends[j + 1]] * kernel[ends[j] : ends[j + 1]]).sum()
                votes[i if np.round((total * scale * middle.scale + bias) / out.scale) > 0 else j] += 1
            assert found[row] == int(np.argmax(votes))


def test_a_perceptron_is_the_integer_graph_of_the_same_network() -> None:
    """The integer graph is TFLite Micro's to the byte; sums and rescaling are exact here: few classes differ."""
    train, asked, y = noisy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlp = MLPClassifier((24, 16), max_iter=60, random_state=0).fit(train, y)
    layers: list[nn.Module] = []
    for weight, bias in zip(mlp.coefs_, mlp.intercepts_, strict=True):
        linear = nn.Linear(*weight.shape)
        linear.load_state_dict({"weight": torch.tensor(weight.T), "bias": torch.tensor(bias)})
        layers += [linear, nn.ReLU()]
    graph = deploy(trace(nn.Sequential(*layers[:-1]), torch.zeros(1, 64)))
    integer = quantize(graph, calibration=torch.tensor(train))
    (outputs,) = predict(integer, *integer.encode(torch.tensor(asked)))
    same = np.mean(round_estimator(mlp, "int8", train).predict(asked) == outputs.flatten(1).argmax(1).numpy())
    assert same > 0.99


@given(
    threshold=st.floats(-300, 300),
    scale=st.floats(2**-10, 3),
    zero_point=st.integers(-128, 127),
    step=st.integers(0, 255),
)
def test_below_keeps_every_comparison(threshold: float, scale: float, zero_point: int, step: int) -> None:
    """For all x on the grid, ``x <= threshold`` is what it was, unless the threshold is below all of them."""
    grid = Grid(float(np.float32(scale)), zero_point)
    steps = np.arange(-128, 128) - zero_point
    (code,) = codes_of(kept("t", [threshold], rounding="threshold"), grid, 8).codes
    rounded = (code - zero_point) * grid.scale
    if threshold >= (steps * grid.scale)[0]:
        assert np.array_equal(steps * grid.scale <= rounded, steps * grid.scale <= threshold)
    on_it = (step - 128 - zero_point) * grid.scale
    assert codes_of(kept("t", [on_it], rounding="threshold"), grid, 8).codes.tolist() == [step - 128]


def test_a_threshold_rounded_to_the_nearest_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_below", lambda x, scale: np.rint(x / scale))
    with pytest.raises(AssertionError):
        TestInCodes().test_a_tree()


def test_any_of_several_equal_neighbours_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def last_of_them(self: Neighbours, x: Array) -> tuple[Array, Array]:
        distances = squared_distances(x, self.samples)[:, ::-1]
        order = np.argsort(distances, kind="stable")[:, : self.k]
        return np.take_along_axis(distances, order, axis=1), len(self.samples) - 1 - order

    monkeypatch.setattr(Neighbours, "nearest", last_of_them)
    with pytest.raises(AssertionError):
        TestInCodes().test_neighbours("uniform")


class Mine(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Says what it costs, and not what it computes."""

    def fit(self, x: Array, y: Array) -> Mine:
        self.classes_, self.n_features_in_ = np.unique(y), x.shape[1]
        return self

    def predict(self, x: Array) -> Array:
        return np.asarray(self.classes_[(x[:, 0] > 0).astype(int)])


def test_what_says_its_price_only_is_computed_by_itself_and_never_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.array([[-1.0], [2.0]], np.float32)
    mine = Mine().fit(x, [0, 1])
    stages = (Stage("mine", outputs=2),)
    monkeypatch.setattr(module, "priced", lambda *_: stages)
    assert round_estimator(mine, "float32", x).predict(x).tolist() == [0, 1]
    with pytest.raises(UserError, match="Mine can't be computed in int8: its stage mine says what it costs, but not"):
        round_estimator(mine, "int8", x)


def test_an_unknown_form_is_named() -> None:
    tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(UserError, match="bits must be one of int8, int16, float32; got 'int4'"):
        round_estimator(tree, "int4", np.zeros((1, 1)))  # type: ignore[arg-type]


def test_grids_are_written_and_read() -> None:
    grids = (Grid(0.25, -3), None)
    assert grids_from_numbers(grids_as_numbers(grids), "int8") == grids
    for damaged in (None, [3], [[1.0]], [["a", 1]], [[0.0, 1]], [[math.nan, 1]]):
        with pytest.raises(ValueError, match="its grids are no pairs"):
            grids_from_numbers(damaged, "int8")


def test_a_rounded_estimator_is_the_same_again_from_its_numbers() -> None:
    train, asked, y = noisy()
    first = round_estimator(LogisticRegression(C=0.01, max_iter=500).fit(train, y), "int8", train)
    again = RoundedEstimator(
        first.estimator, "int8", grids_from_numbers(grids_as_numbers(first.grids), "int8"), first.stages
    )
    assert np.array_equal(first.predict(asked), again.predict(asked))
