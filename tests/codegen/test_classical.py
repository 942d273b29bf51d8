"""Classical models in C: every number is that of the graph, which `tests/baselines` holds against scikit-learn.

References are `mcubench.quant.classical` in numpy, numpy's own root, plain tests on scikit-learn's arrays, and what a
mistake in the C would change.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from mcubench.baselines.rounded import RoundedEstimator, round_estimator
from mcubench.codegen import Facts, TreeForm, generate
from mcubench.codegen.unit import Unit
from mcubench.cost import profile
from mcubench.errors import UserError
from mcubench.quant.classical import FORMS, Form
from mcubench.quant.classical.float32 import exponential, sigmoid, tanh
from mcubench.target import CORES
from mcubench.target.measure import measure
from tests.codegen.classical import answers, build, computed, encoded
from tests.codegen.host import compiler
from tests.cost.estimators.test_witness import TRAINED, digits, fitted

Array = NDArray[Any]
TREE_FORMS = get_args(TreeForm)

# One estimator for each kernel and each way it can be computed; the sweep has all.
_MODELS = [
    "tree of depth 4",
    "forest of many rows",
    "histogram boosting",
    "logistic regression",
    "SVM, rbf",
    "SVM, poly",
    "SVM, sigmoid",
    "7 neighbours by distance",
    "Gaussian Bayes",
    "MLP of tanh",
]


def rounded(name: str, form: Form, classes: int = 10) -> RoundedEstimator:
    x, _ = digits(classes)
    return round_estimator(fitted(name, classes)[0], form, x[:TRAINED])


def differing(model: RoundedEstimator, x: Array, folder: Path, trees: TreeForm | None = None) -> int:
    """Numbers that the C gives otherwise than the graph."""
    graph = model.on_device()
    codes = encoded(graph, x)
    return int(
        (
            answers(build(graph, folder, trees=trees), graph, codes) != computed(graph, codes).reshape(len(codes), -1)
        ).sum()
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", _MODELS)
def test_every_number_is_that_of_the_graph(name: str, form: Form, tmp_path: Path) -> None:
    x, _ = digits(10)
    assert differing(rounded(name, form), x[:300], tmp_path) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("trees", TREE_FORMS)
@pytest.mark.parametrize("name", ["tree", "forest", "boosting"])
def test_trees_are_stored_or_nested(name: str, trees: TreeForm, form: Form, tmp_path: Path) -> None:
    x, _ = digits(10)
    assert differing(rounded(name, form), x[:200], tmp_path, trees) == 0
    assert ("splits_" in (tmp_path / "m.c").read_text()) == (trees == "stored")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["tree", "forest", "forest of depth 3", "extra trees", "boosting", "histogram boosting"]
)
def test_stored_trees_take_the_bytes_of_their_price(name: str, form: Form) -> None:
    model = rounded(name, form)
    text = generate(model.on_device(), "m", trees="stored").files["m.c"]
    arrays = re.findall(r"^static const (float|u?int(\d+)_t) \w+\[(\d+)\] =", text, re.M)
    taken = sum(int(count) * int(bits or 32) // 8 for _, bits, count in arrays)
    if "boosting" in name and form == "int16":
        taken += 4 * 10  # int16 has biases of 64 bits, of which sums of leaves need 32
    price = profile(model.estimator, np.zeros((1, 64), np.float32), widths=FORMS[form]).flash_bytes
    assert taken == price


def test_small_trees_are_nested_and_large_ones_stored() -> None:
    small, large = (generate(rounded(name, "int8").on_device(), "m").files["m.c"] for name in ("tree", "boosting"))
    assert "splits_" not in small
    assert "splits_" in large


def test_a_tree_too_deep_to_be_nested(tmp_path: Path) -> None:
    """C99 promises 127 levels of nested blocks (5.2.4.1)."""
    x = np.arange(240, dtype=np.float32)[:, None]
    model = round_estimator(DecisionTreeClassifier(random_state=0).fit(x, np.arange(240) % 2), "float32", x)
    assert model.estimator.get_depth() > 100
    with pytest.raises(
        UserError, match=r"nested 100 deep at most, .* and a tree has a depth of [12][0-9]{2}: store its"
    ):
        generate(model.on_device(), trees="nested")
    assert differing(model, x, tmp_path) == 0
    assert "splits_" in (tmp_path / "m.c").read_text()


class TestTrees:
    """Where tests and ties are decided."""

    def two(self, form: Form) -> tuple[RoundedEstimator, Array]:
        """A forest whose two trees say the opposite: of two equal shares, scikit-learn takes the first."""
        x = np.array([[0.0], [1.0], [2.0], [3.0]], np.float32)
        forest = RandomForestClassifier(2, bootstrap=False, random_state=0).fit(x, [0, 0, 1, 1])
        forest.estimators_ = [
            DecisionTreeClassifier(max_depth=1).fit(x, [0, 0, 1, 1]),
            DecisionTreeClassifier(max_depth=1).fit(x, [1, 1, 0, 0]),
        ]
        return round_estimator(forest, form, x), x

    @pytest.mark.parametrize("form", FORMS)
    def test_of_equal_shares_the_first_class_counts(self, form: Form, tmp_path: Path) -> None:
        model, x = self.two(form)
        graph = model.on_device()
        sums = answers(build(graph, tmp_path), graph, encoded(graph, x))
        assert (sums[:, 0] == sums[:, 1]).all()
        assert model.predict(x).tolist() == model.estimator.predict(x).tolist() == [0, 0, 0, 0]

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("trees", TREE_FORMS)
    def test_what_lies_on_a_threshold_goes_left(self, form: Form, trees: TreeForm, tmp_path: Path) -> None:
        """Thresholds below 0, of 0 and above, and samples on them, next to them, and of -0."""
        thresholds = np.array([-3.0, -1.0, 0.0, 2.0])
        x = np.repeat((np.arange(-5.0, 6.0))[:, None], 1, axis=1).astype(np.float32)
        y = np.searchsorted(thresholds, x[:, 0], side="left")
        tree = DecisionTreeClassifier(random_state=0).fit(x, y)
        places = tree.tree_.children_left >= 0
        tree.tree_.threshold[places] = np.ceil(tree.tree_.threshold[places]) - 1.0
        near = [np.nextafter(x, np.float32(side), dtype=np.float32) for side in (-9, 9)]
        asked = np.concatenate([x, *near, [[-0.0]]]).astype(np.float32) if form == "float32" else x
        model = round_estimator(tree, form, x)
        graph = model.on_device()
        found = answers(build(graph, tmp_path, trees=trees), graph, encoded(graph, asked))[:, 0]
        if form == "float32":  # on a grid, -3 need not be a code
            assert found.tolist() == tree.predict(asked).tolist()
        assert np.array_equal(found, model.predict(asked))

    @pytest.mark.parametrize("trees", TREE_FORMS)
    def test_a_forest_with_a_tree_of_one_leaf(self, trees: TreeForm, tmp_path: Path) -> None:
        model, x = self.two("int8")
        model.estimator.estimators_.insert(1, DecisionTreeClassifier().fit(x, [1, 1, 1, 1]))
        model.estimator.estimators_[1].tree_ = DecisionTreeClassifier(max_depth=1).fit(x, [0, 1, 1, 1]).tree_
        alone = DecisionTreeClassifier(min_samples_leaf=4).fit(x, [0, 0, 0, 1])
        model.estimator.estimators_.append(alone)
        again = round_estimator(model.estimator, "int8", x)
        assert differing(again, x, tmp_path, trees) == 0

    def test_a_test_that_leaves_equality_out_is_seen(self, tmp_path: Path) -> None:
        graph = rounded("tree", "int8").on_device()
        x, _ = digits(10)
        codes = encoded(graph, x[:300] + np.random.default_rng(3).normal(0, 0.7, (300, 64)))  # of all codes
        project = generate(graph, "m")
        wrong = {name: text.replace(" <= ", " < ") for name, text in project.files.items()}
        object.__setattr__(project, "files", wrong)
        found = answers(build(graph, tmp_path, project), graph, codes)
        assert (found != computed(graph, codes).reshape(len(codes), -1)).any()


def test_two_classes_of_a_machine_are_not_turned_round(tmp_path: Path) -> None:
    """libsvm's sign of two classes is the other way round than that of pairs of more."""
    x, y = digits(2)
    machine = SVC().fit(x[:TRAINED], y[:TRAINED])
    graph = round_estimator(machine, "float32", x[:TRAINED]).on_device()
    decided = answers(build(graph, tmp_path), graph, encoded(graph, x))[:, 0] > 0
    assert np.mean(machine.classes_[decided.astype(int)] == machine.predict(x)) == 1.0


@pytest.mark.parametrize("form", FORMS)
def test_samples_are_classified_by_labels_and_tested_by_itself(form: Form, tmp_path: Path) -> None:
    """Classes 3, 7 and 9 are no numbers of outputs; the self-test finds a constant that was changed."""
    x, y = digits(10)
    chosen = np.isin(y, (3, 7, 9))
    tree = RandomForestClassifier(5, max_depth=5, random_state=0).fit(x[chosen], y[chosen])
    model = round_estimator(tree, form, x[chosen])
    graph = model.on_device()
    sample = {"scaling": {"kind": "none"}, "dtype": "float32", "shape": [64]}
    vectors = encoded(graph, x[chosen][:4])
    project = generate(graph, "m", facts=Facts(sample=sample, vectors=vectors))
    for name, text in project.files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "asked.c").write_text(
        '#include <stdio.h>\n#include "m.h"\nstatic int32_t arena[M_CLASSIFY_ARENA_BYTES / 4 + 1];\nint main(void) {\n'
        "    float raw[64];\n    while (fread(raw, sizeof raw, 1, stdin) == 1)\n"
        '        printf("%d\\n", m_classify(arena, raw));\n    return 0;\n}\n'
    )
    words = [*compiler(), "-std=c99", "asked.c", "m.c", "-o", "asked"]
    subprocess.run(words, cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([tmp_path / "asked"], input=x[:50].tobytes(), capture_output=True, check=True)
    assert [int(each) for each in done.stdout.split()] == model.predict(x[:50]).tolist()
    for text, code in ((project.files["m.c"], 0), (project.files["m.c"].replace(" <= ", " >= "), 1)):
        (tmp_path / "m.c").write_text(text)
        subprocess.run(
            [*compiler(), "-std=c99", "main.c", "-o", "itself"], cwd=tmp_path, check=True, capture_output=True
        )
        assert subprocess.run([tmp_path / "itself"], check=False).returncode == code


def test_functions_are_numpys_to_the_last_bit(tmp_path: Path) -> None:
    """The C of functions, where they are steep, flat, cut off and denormal; the root against IEEE 754's own."""
    random = np.random.default_rng(0)
    ends = np.array([0.0, 1e-45, 1e-40, 1.2e-38, 1.0, 2.0, 4.0, 87.0, 88.0, 89.0, 3e38, 9.5], np.float32)
    drawn = random.uniform(-90, 90, 20000), random.normal(0, 1e-3, 2000)
    x = np.concatenate([ends, -ends, *drawn]).astype(np.float32)
    unit = Unit()
    unit.use("compiler", "tanh_of", "sigmoid_of", "root_of")
    (tmp_path / "f.c").write_text(
        "#include <stdint.h>\n#include <stdio.h>\n"
        + "\n".join(unit.helpers.values())
        + "int main(void) {\n    float x, y[4];\n    while (fread(&x, sizeof x, 1, stdin) == 1) {\n"
        "        y[0] = exponential(x); y[1] = tanh_of(x); y[2] = sigmoid_of(x);\n"
        "        y[3] = root_of((x < 0 ? -x : x) + 0.0f);\n"
        "        fwrite(y, sizeof y, 1, stdout);\n    }\n    return 0;\n}\n"
    )
    subprocess.run([*compiler(), "-O1", "-std=c99", "f.c", "-o", "f"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([tmp_path / "f"], input=x.tobytes(), capture_output=True, check=True)
    found = np.frombuffer(done.stdout, np.float32).reshape(-1, 4)
    for column, expected in zip(found.T, (exponential(x), tanh(x), sigmoid(x), np.sqrt(np.abs(x))), strict=True):
        assert np.array_equal(column, expected)


@pytest.mark.parametrize("core", ["cortex-m0+", "cortex-m4", "rv32imc"])
@pytest.mark.parametrize("form", FORMS)
def test_cores_compute_the_same(form: Form, core: str) -> None:
    """A function in float32 among sums of products: what a compiler that fuses them would change."""
    graph = rounded("MLP of tanh", form).on_device()
    codes = encoded(graph, digits(10)[0][:2])
    found = measure(generate(graph, "m", CORES[core].dialect), CORES[core], codes, computed(graph, codes))
    assert found.different == 0
    assert found.stack_bytes > 0
