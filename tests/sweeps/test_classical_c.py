"""All estimators that have a price, in all forms, two classes and ten, trees both ways: C against the graph.

Covers every number of 300 samples each, compiled with sanitizers.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from mcubench.baselines.rounded import round_estimator
from mcubench.codegen import TreeForm
from mcubench.quant.classical import FORMS, Form
from tests.codegen.classical import answers, build, computed, encoded
from tests.cost.estimators.test_witness import ESTIMATORS, TRAINED, digits, fitted

_WITHOUT = {"Bernoulli Bayes", "random features"}  # that no kernel computes


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [2, 10])
def test_every_number_of_every_estimator(classes: int, form: Form, tmp_path: Path) -> None:
    x, _ = digits(classes)
    without = set()
    for number, name in enumerate(ESTIMATORS):
        model = round_estimator(fitted(name, classes)[0], form, x[:TRAINED])
        if (graph := model.graph) is None:
            without.add(name)
            continue
        codes = encoded(graph, x[:300])
        expected = computed(graph, codes).reshape(len(codes), -1)
        holds_trees = "trees" in vars(graph.nodes[-1].kernel)
        for trees in get_args(TreeForm) if holds_trees else (None,):
            folder = tmp_path / f"{number}-{trees}"
            folder.mkdir()
            assert (answers(build(graph, folder, trees=trees), graph, codes) == expected).all(), name
    assert without == _WITHOUT


@pytest.mark.slow
def test_a_forest_of_more_splits_than_16_bits_count(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(3000, 8)).astype(np.float32), random.integers(0, 9, 3000)
    graph = round_estimator(RandomForestClassifier(70, random_state=0).fit(x, y), "int16", x).on_device()
    assert sum(tree.splits for tree in graph.nodes[0].kernel.trees) > 1 << 16  # type: ignore[attr-defined]
    codes = encoded(graph, x[:200])
    assert (answers(build(graph, tmp_path), graph, codes) == computed(graph, codes)).all()
