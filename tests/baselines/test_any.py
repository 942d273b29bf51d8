"""`Sklearn`: any classifier by its path, with transformers in front, from Python, the command line and YAML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mcubench.baselines import Sklearn
from mcubench.cli.main import main
from mcubench.cli.options.names import BASELINES
from mcubench.cli.options.parsing import class_options
from mcubench.datamodules.base import Part
from mcubench.errors import UserError
from tests.baselines.cases import HIST, digits, failure

QUIET = ("--trainer.enable_progress_bar", "false")
TREE = "sklearn.tree.DecisionTreeClassifier"
NEAREST = "sklearn.neighbors.KNeighborsClassifier"
SGD = "sklearn.linear_model.SGDClassifier"
SCALER = "sklearn.preprocessing.StandardScaler"
NYSTROEM = "sklearn.kernel_approximation.Nystroem"


def sklearn(estimator: str = TREE, **options: Any) -> Sklearn:
    return Sklearn(estimator=estimator, input_shape=(1, 8, 8), num_classes=10, **options)


def flat(part: Part) -> tuple[Any, Any]:
    x, y = digits(part)
    return x.reshape(len(x), -1), y


class TestMake:
    def test_a_classifier_alone(self) -> None:
        made = sklearn(HIST, arguments={"max_iter": 3}, seed=5).make()
        assert type(made) is HistGradientBoostingClassifier
        assert (made.max_iter, made.random_state) == (3, 5)

    def test_each_is_new(self) -> None:
        module = sklearn(SGD, before=[SCALER])
        assert module.make() is not module.make()
        assert module.make()[0] is not module.make()[0]

    def test_a_pipeline(self) -> None:
        made = sklearn(
            SGD,
            arguments={"alpha": 0.01},
            before=[SCALER, NYSTROEM],
            before_arguments=[{"with_mean": False}, {"n_components": 7}],
        ).make()
        assert isinstance(made, Pipeline)
        assert [type(step) for _, step in made.steps] == [StandardScaler, Nystroem, SGDClassifier]
        assert made[0].with_mean is False
        assert made[1].n_components == 7
        assert made[2].alpha == 0.01

    def test_seeds_go_to_all_that_take_one(self) -> None:
        made = sklearn(SGD, before=[SCALER, NYSTROEM, "sklearn.decomposition.PCA"], seed=9).make()
        assert made[1].random_state == made[2].random_state == made[3].random_state == 9
        assert not hasattr(sklearn(NEAREST, seed=9).make(), "random_state")

    def test_a_given_random_state_wins(self) -> None:
        assert sklearn(SGD, arguments={"random_state": 4}, seed=9).make().random_state == 4

    def test_another_seed_is_another_fit(self) -> None:
        x, y = flat("train")
        one, two, again = (sklearn(SGD, seed=seed) for seed in (1, 2, 1))
        for module in (one, two, again):
            module.fit(x, y)
        assert np.array_equal(one.estimator.coef_, again.estimator.coef_)
        assert not np.array_equal(one.estimator.coef_, two.estimator.coef_)


class TestMistakes:
    @pytest.mark.parametrize(
        ("estimator", "parts"),
        [
            (
                "sklearn.tree.DecisionTreeClasifier",
                "no classifier .*Did you mean 'sklearn.tree.DecisionTreeClassifier'",
            ),
            ("sklearn.trees.DecisionTreeClassifier", "Did you mean 'sklearn.tree.DecisionTreeClassifier'"),
            ("DecisionTreeClassifier", "Give a class of scikit-learn's with its module"),
            ("sklearn.tree", "there is no classifier 'sklearn.tree'"),
            ("os.system", "there is no classifier 'os.system'"),
            ("builtins.dict", "there is no classifier 'builtins.dict'"),
            ("", "there is no classifier ''"),
            ("sklearn.linear_model.Ridge", "estimator sklearn.linear_model.Ridge is no classifier"),
            ("sklearn.tree.DecisionTreeRegressor", "DecisionTreeRegressor is no classifier"),
            ("sklearn.decomposition.PCA", "estimator sklearn.decomposition.PCA is no classifier"),
            ("sklearn.cluster.KMeans", "estimator sklearn.cluster.KMeans is no classifier"),
        ],
    )
    def test_the_path(self, estimator: str, parts: str) -> None:
        with pytest.raises(UserError, match=parts):
            sklearn(estimator)

    def test_a_classifier_is_proposed_for_a_classifier(self) -> None:
        with pytest.raises(UserError, match=f"Did you mean '{HIST}'"):
            sklearn("sklearn.ensemble.HistGradientBosting")

    @pytest.mark.parametrize(
        "estimator",
        [
            ".tree.DecisionTreeClassifier",
            "sklearn.ensemble.StackingClassifier",
            "sklearn.multiclass.OneVsRestClassifier",
            "sklearn.ensemble.BaseEnsemble",
            "sklearn.pipeline.Pipeline",
        ],
    )
    def test_what_can_not_be_made(self, estimator: str) -> None:
        with pytest.raises(UserError, match=estimator):
            sklearn(estimator)

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            ({"arguments": {"max_dept": 3}}, r"DecisionTreeClassifier takes no 'max_dept'. Did you mean 'max_depth'\?"),
            ({"arguments": {"zzz": 3}}, "takes no 'zzz'. It takes criterion, splitter, max_depth"),
            (
                {"before": [NYSTROEM], "before_arguments": [{"n_component": 3}]},
                "Nystroem takes no 'n_component'. Did you mean 'n_components'",
            ),
            ({"before": ["sklearn.decomposition.PCAA"]}, "no transformer .*Did you mean 'sklearn.decomposition.PCA'"),
            ({"before": [SCALER, NYSTROEM], "before_arguments": [{}]}, "before_arguments has 1 entries, and before 2"),
            ({"before": [SCALER], "before_arguments": [{}, {}]}, "before_arguments has 2 entries, and before 1"),
            ({"before_arguments": [{"n_components": 3}]}, "before_arguments has 1 entries, and before 0"),
        ],
    )
    def test_options(self, options: dict[str, Any], parts: str) -> None:
        with pytest.raises(UserError, match=parts):
            sklearn(**options)

    @pytest.mark.parametrize("before", [TREE, "sklearn.cluster.DBSCAN"])
    def test_what_transforms_nothing(self, before: str) -> None:
        with pytest.raises(UserError, match=before.rpartition(".")[2]):
            sklearn(before=[before]).fit(*flat("train"))

    @pytest.mark.parametrize(
        ("options", "parts"),
        [
            ({"arguments": {"max_depth": "deep"}}, "The 'max_depth' parameter .* Got 'deep'"),
            ({"before": ["sklearn.decomposition.PCA"], "before_arguments": [{"n_components": 65}]}, "n_components=65"),
            ({"estimator": "sklearn.naive_bayes.MultinomialNB"}, "Negative values in data"),
        ],
    )
    def test_what_scikit_learn_refuses(self, options: dict[str, Any], parts: str) -> None:
        with pytest.raises(UserError, match=f"Sklearn can't be fitted: .*{parts}"):
            sklearn(**options).fit(*flat("train"))

    def test_misspelt_options_are_not_swallowed(self) -> None:
        with pytest.raises(TypeError, match="argument"):
            sklearn(argument={"max_depth": 3})


def row() -> dict[str, Any]:
    (path,) = Path("runs").glob("*/result.json")
    row: dict[str, Any] = json.loads(path.read_text())
    return row


def pca_boosting() -> float:
    """Test accuracy of the same pipeline, made plainly."""
    plain = make_pipeline(
        PCA(12, random_state=0), HistGradientBoostingClassifier(max_iter=3, max_depth=3, random_state=0)
    )
    return float(plain.fit(*flat("train")).score(*flat("test")))


PIPELINE = {
    "estimator": HIST,
    "arguments": {"max_iter": 3, "max_depth": 3},
    "before": ["sklearn.decomposition.PCA"],
    "before_arguments": [{"n_components": 12}],
}


class TestCommandLine:
    @pytest.mark.parametrize("dotted", [True, False])
    def test_options(self, dotted: bool, workplace: Path) -> None:
        arguments = (
            ["--model.arguments.max_iter", "3", "--model.arguments.max_depth", "3"]
            if dotted
            else ["--model.arguments", "{max_iter: 3, max_depth: 3}"]
        )
        before = ["--model.before", "[sklearn.decomposition.PCA]", "--model.before_arguments", "[{n_components: 12}]"]
        args = ["fit", "--model", "Sklearn", "--model.estimator", HIST, *arguments, *before, "--data.size", "8", *QUIET]
        assert main(args) == 0
        assert row()["accuracy"]["test"] == pytest.approx(pca_boosting())
        given = row()["model"]["init_args"]
        assert {name: given[name] for name in PIPELINE} == PIPELINE

    def test_a_configuration(self, workplace: Path) -> None:
        model = {"class_path": "mcubench.baselines.Sklearn", "init_args": PIPELINE}
        data = {"class_path": "mcubench.datamodules.Digits", "init_args": {"size": 8}}
        Path("pipeline.yaml").write_text(yaml.safe_dump({"model": model, "data": data}))
        assert main(["fit", "--config", "pipeline.yaml", *QUIET]) == 0
        assert row()["accuracy"]["test"] == pytest.approx(pca_boosting())
        # and the run's own configuration repeats it
        (config,) = Path("runs").glob("*/config.yaml")
        assert main(["fit", "--config", str(config), "--trainer.default_root_dir", "again", *QUIET]) == 0
        (again,) = Path("again").glob("*/result.json")
        assert json.loads(again.read_text())["accuracy"] == row()["accuracy"]

    @pytest.mark.parametrize(
        ("args", "parts"),
        [
            (
                ["--model.estimator", "sklearn.tree.DecisionTreClassifier"],
                ["Did you mean 'sklearn.tree.DecisionTreeCl"],
            ),
            (["--model.estimator", "sklearn.linear_model.Ridge"], ["sklearn.linear_model.Ridge is no classifier"]),
            (
                ["--model.estimator", TREE, "--model.arguments.max_dept", "3"],
                ["'max_dept'", "Did you mean 'max_depth'"],
            ),
            (
                ["--model.estimator", TREE, "--model.before", f"[{SCALER}]", "--model.before_arguments", "[{}, {}]"],
                ["has 2 entries"],
            ),
            (["--model.estimater", TREE], ["Did you mean 'estimator'"]),
            (
                ["--model.estimator", TREE, "--model.arguments", "3"],
                ["--model.arguments"],
            ),
        ],
    )
    def test_mistakes_are_one_line(
        self, args: list[str], parts: list[str], workplace: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        line = failure(capsys, "fit", "--model", "Sklearn", *args, "--data", "Digits", "--data.size", "8", *QUIET)
        for part in parts:
            assert part in line
        assert not list(workplace.rglob("*.ckpt"))

    def test_no_estimator_given(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        line = failure(capsys, "fit", "--model", "Sklearn", "--data", "Digits", *QUIET)
        assert "--model.estimator" in line
        assert "Namespace" not in line

    def test_what_is_proposed_next_can_be_typed(self, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
        args = ["--model", "Sklearn", "--model.estimator", "sklearn.naive_bayes.GaussianNB", "--data.size", "8"]
        assert main(["fit", *args, *QUIET]) == 0
        hints = capsys.readouterr().out.partition("Try next:")[2]
        assert all("--model.estimator" in line for line in hints.splitlines() if "--model Sklearn" in line)

    @pytest.mark.parametrize("name", BASELINES)
    def test_help_by_short_name(self, name: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as end:
            main(["fit", "--model.help", name])
        assert end.value.code == 0
        printed = capsys.readouterr().out
        assert "--model.max_samples" in printed
        assert set(re.findall(r"--model\.(\w+)", printed)) >= set(class_options(f"mcubench.baselines.{name}"))
