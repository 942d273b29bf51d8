"""Prices by hand and by networks that do the same; what has none; budgets, tables and commands."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.base import clone
from sklearn.ensemble import AdaBoostClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, PowerTransformer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from mcubench.baselines import Baseline, DecisionTree
from mcubench.callbacks import MACs, SizeBudget
from mcubench.cli.main import main
from mcubench.cost import BitWidths, CostReport, profile
from mcubench.cost.estimators import NotPricedError, Stage, classifying
from mcubench.cost.table import print_report
from mcubench.datamodules import Digits
from mcubench.errors import BudgetExceededError, UserError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WIDTHS = [BitWidths(weight, activation) for weight, activation in ((8, 8), (4, 16), (1, 4), (16, 16), (32, 32))]


def samples(features: int, classes: int, count: int = 60) -> tuple[Any, Any]:
    y = np.arange(count) % classes
    x = np.random.default_rng(0).normal(size=(count, features)) + y[:, None]
    return x.astype(np.float32), y


def printed(report: CostReport) -> str:
    console = Console(record=True, width=140, file=io.StringIO(), force_terminal=True, color_system=None)
    print_report(report, console)
    return console.export_text()


def costs(report: CostReport) -> tuple[Any, ...]:
    return report.macs, report.comparisons, report.functions, report.flash_bytes, report.ram_bytes


class TestByHand:
    """Operations, and bytes at 8 bits."""

    @pytest.mark.parametrize("kind", [LogisticRegression, LinearSVC])
    def test_linear_of_images(self, kind: type) -> None:
        x, y = samples(784, 10)
        report = profile(kind().fit(x, y), x[:1])
        # 784 * 10 weights of a byte, and a bias of 4 B with a multiplier and shift of 8 B each; 784 B in and 10 B out.
        assert costs(report) == (7_840, 9, 0, 7_840 + 10 * 12, 794)
        assert (report.params, report.unused_params) == (7_850, 0)

    def test_linear_of_two_classes(self) -> None:
        x, y = samples(20, 2)
        assert costs(profile(LogisticRegression().fit(x, y), x[:1])) == (20, 1, 0, 20 + 12, 32 + 1)

    def test_a_stump(self) -> None:
        x, y = samples(4, 2)
        report = profile(DecisionTreeClassifier(max_depth=1).fit(x, y), x[:1])
        # A split and two leaves: a word of 2 B, a threshold, two classes. 4 B in, 1 B out at 16.
        assert costs(report) == (0, 1, 0, 2 + 1 + 2, 17)

    def test_a_forest_of_mixed_stumps(self) -> None:
        x, y = samples(4, 3, count=90)
        forest = RandomForestClassifier(2, max_depth=1, random_state=0).fit(x, y)
        pure = sum(bool((row == 1).any()) for tree in forest.estimators_ for row in tree.tree_.value[1:, 0])
        # Twice the split of a stump, where the trees begin and end, 4 numbers of leaves, and 3 probabilities for each
        # leaf that is not pure.
        assert costs(profile(forest, x[:1]))[:4] == (0, 2 + 2, 0, 2 * 3 + 3 * 2 + 4 + 3 * (4 - pure))

    @pytest.mark.parametrize(("features", "word"), [(1 << 14, 2), (1 << 15, 4)])
    def test_words_of_splits(self, features: int, word: int) -> None:
        """At 8 bits a threshold lies in what is free of a word of 4 B, at 16 behind it."""
        x = np.zeros((2, features), np.float32)
        x[1, -1] = 1.0  # the last feature alone says which class, and its number takes 14 bits, or 15
        tree = DecisionTreeClassifier().fit(x, [0, 1])
        at = {bits: profile(tree, x[:1], BitWidths(bits, bits)).flash_bytes for bits in (8, 16)}
        assert at == {8: word + (word == 2) + 2, 16: word + 2 + 2}

    def test_support_vectors(self) -> None:
        x, y = samples(6, 3)
        machine = SVC(C=1e-6).fit(x, y)  # so little that all are support vectors
        assert machine.support_vectors_.shape == (60, 6)
        report = profile(machine, x[:1])
        # Each vector against the input, and in the pairs of its class with two others; 3 signs, then the most votes.
        assert (report.macs, report.comparisons, report.functions) == (60 * 6 + 2 * 60, 3 + 2, 60)
        assert report.flash_bytes == 60 * 6 + 8 + 2 * 60 + 3 * 12

    def test_neighbours(self) -> None:
        x, y = samples(6, 3)
        report = profile(KNeighborsClassifier(3).fit(x, y), x[:1])
        # The first three samples meet 0, 1 and 2 kept ones, the others three; then the most of 3 votes.
        assert costs(report)[:4] == (360, 1 + 2 + 57 * 3 + 2, 0, 360 + 60)

    def test_normal_distributions(self) -> None:
        x, y = samples(6, 3)
        assert costs(profile(GaussianNB().fit(x, y), x[:1])) == (18, 2, 0, 2 * 18 + 3 * 12, 16 + 3)

    def test_biases_are_counted_if_asked_for(self) -> None:
        x, y = samples(784, 10)
        report = profile(LogisticRegression().fit(x, y), x[:1], count_bias=True)
        assert report.macs == profile(nn.Linear(784, 10), torch.zeros(1, 784), count_bias=True).macs == 7_850


class TestAsANetwork:
    """What computes the same costs the same."""

    @pytest.mark.parametrize("widths", WIDTHS, ids=str)
    @pytest.mark.parametrize("bias", [True, False])
    def test_logistic_regression_is_a_dense_layer(self, widths: BitWidths, bias: bool) -> None:
        x, y = samples(784, 10)
        report = profile(LogisticRegression(fit_intercept=bias).fit(x, y), x[:1], widths)
        self.same(report, profile(nn.Linear(784, 10, bias=bias), torch.zeros(1, 784), widths))

    @pytest.mark.parametrize("widths", WIDTHS, ids=str)
    @pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
    def test_perceptron(self, widths: BitWidths, activation: str) -> None:
        x, y = samples(20, 3)
        function = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "logistic": nn.Sigmoid(), "identity": nn.Identity()}
        network = nn.Sequential(nn.Linear(20, 7), function[activation], nn.Linear(7, 3))
        report = profile(MLPClassifier((7,), activation, max_iter=2).fit(x, y), x[:1], widths)
        self.same(report, profile(network, torch.zeros(1, 20), widths))

    @pytest.mark.parametrize("widths", WIDTHS, ids=str)
    def test_scaler_is_a_batch_norm(self, widths: BitWidths) -> None:
        x, y = samples(9, 3)
        report = profile(make_pipeline(StandardScaler(), LogisticRegression()).fit(x, y), x[:1], widths)
        # torch folds a batch norm into what follows, so alone it is what the scaler is.
        alone = profile(nn.BatchNorm1d(9).eval(), torch.zeros(1, 9), widths)
        self.same(profile(StandardScaler().fit(x), x[:1], widths), alone)
        linear = profile(nn.Linear(9, 3), torch.zeros(1, 9), widths)
        assert report.flash_bytes == (alone.flash_bytes or 0) + (linear.flash_bytes or 0)

    def test_widths_of_steps(self) -> None:
        x, y = samples(20, 3)
        pipeline = make_pipeline(StandardScaler(), SVC(C=1e-6)).fit(x, y)
        found = profile(pipeline, x[:1], BitWidths(8, 8, {"svc.kernel": 4}))
        assert found.flash_bytes == (profile(pipeline, x[:1]).flash_bytes or 0) - 60 * 20 // 2
        with pytest.raises(UserError, match=r"no layer 'svc.kernels' with weights.*svc\.kernel"):
            profile(pipeline, x[:1], BitWidths(8, 8, {"svc.kernels": 4}))
        with pytest.raises(UserError, match="There are the outermost"):
            profile(LogisticRegression().fit(x, y), x[:1], BitWidths(8, 8, {"x": 4}))

    @staticmethod
    def same(report: CostReport, network: CostReport) -> None:
        assert (report.macs, report.flash_bytes, report.ram_bytes) == (
            network.macs,
            network.flash_bytes,
            network.ram_bytes,
        )
        assert report.params == network.params
        assert [layer.ram_bytes for layer in report.layers] == [layer.ram_bytes for layer in network.layers]


class TestUnknown:
    @pytest.mark.parametrize(
        ("estimator", "op", "reason"),
        [
            (AdaBoostClassifier(n_estimators=2), "AdaBoostClassifier", "no formula for the classifier"),
            (OneVsRestClassifier(LinearSVC()), "OneVsRestClassifier", "no formula for the classifier"),
            (LinearRegression(), "LinearRegression", "no formula for the transformer"),
            (KNeighborsClassifier(metric="manhattan"), "KNeighborsClassifier", "metric 'manhattan'"),
            (KNeighborsClassifier(weights=np.ones_like), "KNeighborsClassifier", "a function"),
            (SVC(break_ties=True), "SVC", "break_ties"),
            (SVC(kernel=lambda a, b: a @ b.T), "SVC", "no formula for the kernel"),
            (HistGradientBoostingClassifier(max_iter=1, categorical_features=[0]), None, "categorical"),
            (make_pipeline(PowerTransformer(), LogisticRegression()), "PowerTransformer", "transformer Power"),
            (make_pipeline(Normalizer("max"), LogisticRegression()), "Normalizer", "norm 'max'"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_is_named_and_never_0(self, estimator: Any, op: str | None, reason: str) -> None:
        x, y = samples(5, 3)
        x[:, 0] = np.arange(60) % 4
        report = profile(clone(estimator).fit(x, y), x[:3])
        assert costs(report) == (None, None, None, None, None)
        (found,) = report.unsupported
        assert found.op == op or op is None
        assert reason in found.reason
        assert "?" in printed(report)
        assert json.loads(json.dumps(report.as_dict()))["comparisons"] is None

    def test_several_outputs(self) -> None:
        x, y = samples(5, 3)
        report = profile(DecisionTreeClassifier().fit(x, np.stack([y, y], 1)), x[:1])
        assert report.macs is report.flash_bytes is None
        assert "several outputs" in str(report.unsupported[0])

    def test_the_known_rest_is_kept(self) -> None:
        x, y = samples(5, 3)
        report = profile(make_pipeline(PowerTransformer(), LogisticRegression()).fit(x, y), x[:1])
        assert [layer.macs for layer in report.layers] == [None, 15]
        assert report.mac_count.counted == 15

    def test_one_can_be_registered(self) -> None:
        class Mine(LogisticRegression):
            pass

        x, y = samples(5, 3)
        classifying.register(Mine, lambda estimator: (Stage("mine", outputs=3, macs=7),))
        assert profile(Mine().fit(x, y), x[:1]).macs == 7

    def test_the_reason_can_be_asked_for(self) -> None:
        with pytest.raises(NotPricedError, match="AdaBoostClassifier"):
            classifying(AdaBoostClassifier())


class TestSamples:
    def test_all_forms(self) -> None:
        x, y = samples(12, 3)
        estimator = DecisionTreeClassifier(random_state=0).fit(x, y)
        for example in (x[:1], torch.tensor(x[:1]).reshape(1, 3, 4), (torch.tensor(x[:1]),)):
            assert profile(estimator, example).inputs == ((12,),)
        assert profile(estimator, torch.tensor(x[0]), batch_dim=None).inputs == ((12,),)
        turned = profile(estimator, torch.tensor(x).T, batch_dim=1)
        assert turned.mean_comparisons == profile(estimator, x).mean_comparisons is not None

    def test_wrong_ones(self) -> None:
        x, y = samples(12, 3)
        estimator = DecisionTreeClassifier().fit(x, y)
        with pytest.raises(UserError, match="DecisionTreeClassifier takes samples of 12 values; got 5"):
            profile(estimator, x[:, :5])
        with pytest.raises(UserError, match="no sample"):
            profile(estimator, x[:0])
        with pytest.raises(UserError, match="one tensor or array"):
            profile(estimator, {"x": x})

    def test_not_fitted(self) -> None:
        with pytest.raises(UserError, match="GaussianNB is not fitted yet: its cost is known after fit"):
            profile(GaussianNB(), np.zeros((1, 4)))


class TestPrinted:
    def test_columns_if_there_is_something_in_them(self) -> None:
        x, y = samples(6, 3)
        tree = DecisionTreeClassifier(random_state=0).fit(x, y)
        machine = SVC().fit(x, y)
        assert "compares" in printed(profile(tree, x))
        assert "functions" not in printed(profile(tree, x))
        assert f"{len(machine.support_vectors_)}" in printed(profile(machine, x)).split("functions")[1]
        assert "ompar" not in printed(profile(nn.Linear(4, 2), torch.zeros(1, 4)))

    def test_the_layout_of_trees(self) -> None:
        x, y = samples(6, 3)
        text = printed(profile(DecisionTreeClassifier(random_state=0).fit(x, y), x))
        assert "trees: a split is a word of 2 B or 4 B" in text
        assert "on average for these samples" in text
        assert "trees:" not in printed(profile(GaussianNB().fit(x, y), x))


@pytest.fixture(scope="module")
def fitted() -> Baseline:
    x, y = samples(64, 10, count=200)
    model = DecisionTree(input_shape=(1, 8, 8), num_classes=10, max_depth=5, seed=0)
    model.fit(x, y)
    return model


class TestBaselines:
    def trainer(self, tmp_path: Path, *callbacks: pl.Callback) -> pl.Trainer:
        options: dict[str, Any] = {
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
        }
        return pl.Trainer(
            max_epochs=1, accelerator="cpu", default_root_dir=tmp_path, enable_checkpointing=False,
            callbacks=list(callbacks), **options,
        )  # fmt: skip

    def test_is_priced_as_its_estimator(self, fitted: Baseline) -> None:
        report = profile(fitted, torch.zeros(1, 1, 8, 8))
        assert report.model == "DecisionTree"
        assert costs(report) == costs(profile(fitted.estimator, np.zeros((1, 64)), fitted.widths))

    def test_not_fitted(self) -> None:
        with pytest.raises(UserError, match="DecisionTree is not fitted yet: its cost is known after fit"):
            profile(DecisionTree(input_shape=(4,), num_classes=2), torch.zeros(1, 4))

    @pytest.mark.parametrize("quantity", ["flash", "ram"])
    def test_one_byte_decides_a_budget(self, fitted: Baseline, quantity: str, tmp_path: Path) -> None:
        # a fit begins anew: what the old estimator cost decides nothing
        self.trainer(tmp_path).fit(fitted, Digits(size=8))
        needed = getattr(profile(fitted, torch.zeros(1, 1, 8, 8)), f"{quantity}_bytes")
        self.trainer(tmp_path, SizeBudget(**{quantity: needed})).fit(fitted, Digits(size=8))
        with pytest.raises(BudgetExceededError, match="1 B more than"):
            self.trainer(tmp_path, SizeBudget(**{quantity: needed - 1})).fit(fitted, Digits(size=8))

    def test_a_budget_is_checked_once_it_is_fitted(self, tmp_path: Path) -> None:
        model = DecisionTree(input_shape=(1, 8, 8), num_classes=10)
        with pytest.raises(BudgetExceededError, match=r"DecisionTree is over budget.*DecisionTreeClassifier"):
            self.trainer(tmp_path, SizeBudget(flash=10)).fit(model, Digits(size=8))
        assert model.is_fitted

    def test_macs_are_known_after_fit(self, tmp_path: Path) -> None:
        counted = MACs(print_table=False)
        self.trainer(tmp_path, counted).fit(DecisionTree(input_shape=(1, 8, 8), num_classes=10), Digits(size=8))
        assert counted.report is not None
        assert counted.report.comparisons
        assert counted.problem is None

    def test_a_second_fit_is_priced_anew(self, tmp_path: Path) -> None:
        model, counted = DecisionTree(input_shape=(1, 8, 8), num_classes=10, seed=0), MACs(print_table=False)
        model.fit(*samples(64, 10, count=200))
        before = profile(model, torch.zeros(1, 1, 8, 8)).flash_bytes
        self.trainer(tmp_path, counted).fit(model, Digits(size=8))
        assert counted.report is not None
        assert counted.report.flash_bytes == profile(model, torch.zeros(1, 1, 8, 8)).flash_bytes != before


class TestCommand:
    def test_not_fitted_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["profile", "--model", "DecisionTree", "--data", "Digits"]) == 2
        assert capsys.readouterr().err.splitlines() == [
            "mcubench: error: DecisionTree is not fitted yet: its cost is known after fit"
        ]

    def test_a_run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.chdir(tmp_path)
        main(["fit", "--model", "DecisionTree", "--model.max_depth", "4", "--data", "Digits", "--data.size", "8"])
        (run,) = Path("runs").iterdir()
        row = json.loads((run / "result.json").read_text())
        assert row["flash_bytes"] > 0
        capsys.readouterr()
        main(["profile", "--ckpt_path", str(run), "--device", "stm32f446", "--json", "costs.json"])
        text, found = capsys.readouterr().out, json.loads(Path("costs.json").read_text())
        assert found["flash_bytes"] == row["flash_bytes"]
        assert 0 < found["mean_comparisons"] <= found["comparisons"] == 4
        assert "latency ? (cycles per MAC say nothing of comparisons" in " ".join(text.split())


def test_cost_alone_does_not_import_scikit_learn() -> None:
    code = "import sys, mcubench.cost; print([name for name in sys.modules if name in ('sklearn', 'lightning')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_estimators_import_nothing_above_cost() -> None:
    code = "import sys, mcubench.cost.estimators; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = {name.split(".")[1] for name in done.stdout.split() if name.startswith("mcubench.")}
    assert ours == {"cost", "errors", "files", "graph"}
    assert "lightning" not in done.stdout.split()
