"""What kernels of classical models give: against their float stages, and limits of what there is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler

from mcubench.baselines.rounded import RoundedEstimator, round_estimator
from mcubench.quant.classical import FORMS, Form, NotOnDeviceError
from mcubench.quant.classical.kernels import UnitLength
from mcubench.quant.integer.run import run
from tests.cost.estimators.test_witness import TRAINED, digits

Array = NDArray[Any]

_BEFORE = {
    "standard": StandardScaler,
    "range": lambda: MinMaxScaler(clip=True, feature_range=(-0.4, 0.7)),
    "length": Normalizer,
    "selection": lambda: SelectKBest(k=20),
    "components": lambda: PCA(12, random_state=0),
    "vectors": lambda: Nystroem(n_components=15, random_state=0, gamma=0.002),
}


def piped(before: Any, form: Form) -> tuple[RoundedEstimator, Array]:
    x, y = digits(10)
    x = x + np.random.default_rng(0).normal(0, 0.5, x.shape).astype(np.float32)
    estimator = make_pipeline(before(), LogisticRegression(max_iter=50)).fit(x[:TRAINED], y[:TRAINED])
    return round_estimator(estimator, form, x[:TRAINED]), x[TRAINED:900]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", _BEFORE)
def test_each_stage_is_next_to_what_its_float_formula_gives(name: str, form: Form) -> None:
    """By what is left of the stage before, so that no error grows: a step of the grid at most, mostly half of one."""
    model, x = piped(_BEFORE[name], form)
    graph = model.on_device()
    (codes,) = graph.encode(torch.from_numpy(x))
    found = run(graph, codes)
    for node, stage in zip(graph.nodes, model.stages, strict=True):
        source, target = node.inputs[0], node.output
        given = source.grid.values(found[source.name]).double().numpy().reshape(len(x), -1)  # type: ignore[union-attr]
        exact = stage.compute(given, {each.name: each.values for each in stage.stored if each.values is not None})  # type: ignore[misc]
        values = target.grid.values(found[target.name]).numpy().reshape(len(x), -1)
        low, high = (-np.inf, np.inf)
        if not target.real:
            low, high = ((end - target.grid.zero_point) * target.grid.scale for end in target.grid.ends)
        off = np.abs(values - exact.clip(low, high))
        if form == "float32":
            assert off.max() < 2e-6 * max(1, np.abs(exact).max())
        else:
            # Weights are rounded too: 8 bits of them cost some steps of a sum of products.
            products = stage.macs and not isinstance(node.kernel, UnitLength)
            steps = {"int8": 6, "int16": 8}[form] if products else 0.52
            assert off.max() <= steps * target.grid.scale, node.path


def test_what_has_no_kernel_is_named_and_scored_all_the_same() -> None:
    model, x = piped(lambda: RBFSampler(n_components=20, random_state=0), "int8")
    assert model.graph is None
    with pytest.raises(NotOnDeviceError, match="no device arithmetic is known for RBFSampler"):
        model.on_device()
    assert len(model.predict(x)) == len(x)


@pytest.mark.parametrize("form", ["int8", "int16"])
def test_biases_far_above_their_weights_are_kept(form: Form) -> None:
    """Sums of products have room for them: steps of weights become coarser, and the largest bias decides."""
    x, y = digits(10)
    estimator = LogisticRegression(max_iter=50).fit(x[:TRAINED], y[:TRAINED])
    estimator.coef_ = estimator.coef_ * 1e-15
    estimator.intercept_ = np.arange(10.0)
    model = round_estimator(estimator, form, x[:TRAINED])
    assert model.graph is not None
    assert set(model.predict(x).tolist()) == {9}


def test_a_bias_that_no_number_of_steps_is_is_refused() -> None:
    x, y = digits(10)
    boosted = GradientBoostingClassifier(n_estimators=2, max_depth=1).fit(x[:200], y[:200])
    boosted.learning_rate = 1e-12
    model = round_estimator(boosted, "int8", x[:200])
    with pytest.raises(NotOnDeviceError, match="has a bias too large beside its other numbers"):
        model.on_device()
    assert len(model.predict(x[:10])) == 10


def test_decisions_that_nobody_knows_in_c_are_refused() -> None:
    model, _ = piped(StandardScaler, "int8")
    other = replace(model.stages[-1], decide=lambda scores: scores.argmin(1))
    with pytest.raises(NotOnDeviceError, match="how LogisticRegression decides"):
        RoundedEstimator(model.estimator, "int8", model.grids, (*model.stages[:-1], other)).on_device()


def test_labels_that_are_no_numbers_are_given_back() -> None:
    x, y = digits(2)
    names = np.where(y == y.max(), "yes", "no")
    model = round_estimator(LogisticRegression(max_iter=50).fit(x, names), "float32", x)
    assert model.on_device().labels is None
    assert model.predict(x).tolist() == model.estimator.predict(x).tolist()


def test_labels_are_the_estimators() -> None:
    x, y = digits(10)
    few = np.isin(y, (2, 5, 8))
    model = round_estimator(LogisticRegression(max_iter=50).fit(x[few], y[few]), "int8", x[few])
    assert model.on_device().labels == (2, 5, 8)
    assert set(model.predict(x).tolist()) <= {2, 5, 8}
