"""``fit --folds``, against scikit-learn's own cross-validation and against the same fits run one by one."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.model_selection import LeaveOneGroupOut, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from mcubench.cli.fitting import several
from mcubench.cli.main import main
from mcubench.datamodules import Arrays, Digits, TensorDataModule
from mcubench.datamodules.scaling import Standardised
from mcubench.datamodules.splits import SplitKind
from mcubench.errors import UserError
from mcubench.results.run_folder import resolve_checkpoint
from mcubench.stopping import Terminated
from tests.cli.test_main import failure

SMALL = ["--data.size", "8", "--trainer.enable_progress_bar", "false"]
TREE = ["fit", "--model", "DecisionTree", "--model.bits", "float32", *SMALL]


class Made(TensorDataModule):
    """Five subjects of 20 to 28 samples; subject 4 alone has no sample of class 2."""

    def __init__(self, split: SplitKind = "subject", **options: Any) -> None:
        super().__init__(split=split, **options)
        self.input_shape, self.num_classes, self.class_names = (3,), 3, ("a", "b", "c")

    def load(self) -> tuple[Arrays, Arrays]:
        random = np.random.default_rng(0)
        subjects = np.repeat([11, 7, 3, 20, 4], [20, 22, 24, 26, 28])
        y = np.arange(120) % 3
        y[(subjects == 4) & (y == 2)] = 0
        x = (random.normal(size=(120, 3)) + y[:, None]).astype(np.float32)
        return Arrays(x, y, subjects), Arrays(x[:30], y[:30], subjects[:30])


class OneChannel(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Scales as the data module does: pixels are whole numbers, and a tree's thresholds lie on some of them."""

    def fit(self, x: np.ndarray, y: object = None) -> OneChannel:
        self.scaling_ = Standardised.fit(x[:, None])
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        return self.scaling_(x[:, None])[:, 0]


def summary(root: str = "runs") -> tuple[Path, dict[str, Any]]:
    """The folder and ``folds.json`` of the one cross-validation under a root."""
    (path,) = Path(root).glob("*/folds.json")
    return path.parent, json.loads(path.read_text())


def scores(run: Path) -> dict[str, Any]:
    result = json.loads((run / "result.json").read_text())
    return {key: result[key] for key in ("accuracy", "macro_f1", "logged", "split", "epochs", "steps")}


@pytest.fixture(scope="module")
def three_folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a cross-validation, and what it printed."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(tmp_path_factory.mktemp("folds"))
        assert main([*TREE, "--folds=3", "--data.split_seed", "3"]) == 0
        return summary()[0].resolve(), out.getvalue()


def test_the_folds_are_those_of_scikit_learn(three_folds: tuple[Path, str]) -> None:
    _, found = summary(str(three_folds[0].parent))
    full, _ = Digits(size=8).load()
    cut = StratifiedKFold(3, shuffle=True, random_state=3)
    tree, x = make_pipeline(OneChannel(), DecisionTreeClassifier(random_state=0)), full.x.reshape(len(full.x), -1)
    for score, metric in (("val_accuracy", "accuracy"), ("val_macro_f1", "f1_macro")):
        expected = cross_val_score(tree, x, full.y, cv=cut, scoring=metric)
        assert [row[score] for row in found["folds"]] == pytest.approx(expected, abs=1e-12)
        assert found["spread"][score]["mean"] == pytest.approx(expected.mean())
        assert found["spread"][score]["std"] == pytest.approx(expected.std(ddof=1))
    assert sum(row["val_samples"] for row in found["folds"]) == len(full.y)
    assert found["split"] == {"kind": "stratified", "seed": 3}


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["fit", *SMALL, "--model.hidden", "[8]", "--trainer.max_epochs", "2"], id="MLP"),
        pytest.param([*TREE, "--model.max_depth", "5"], id="DecisionTree"),
    ],
)
def test_each_fold_is_the_run_that_its_options_give(words: list[str], workplace: Path) -> None:
    assert main([*words, "--folds", "2", "--seed_everything", "5"]) == 0
    folder, found = summary()
    # The last one, to which the folds before it might have handed something on.
    assert main([*words, "--data.folds", "2", "--data.fold", "1", "--seed_everything", "5"]) == 0
    (run,) = set(Path("runs").iterdir()) - {folder}
    assert scores(run) == scores(folder / "fold-1")
    assert found["folds"][1]["val_accuracy"] == scores(run)["accuracy"]["val"]
    assert len({row["val_accuracy"] for row in found["folds"]}) > 1, "or the test would show little"


def test_a_fold_is_an_ordinary_run(
    three_folds: tuple[Path, str], workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = three_folds
    assert {path.name for path in folder.iterdir()} == {"fold-0", "fold-1", "fold-2", "folds.json"}
    run = folder / "fold-2"
    files = {"config.yaml", "metrics.csv", "result.json", "curves.png", "confusion.png", "checkpoints", "log.txt"}
    assert {path.name for path in run.iterdir()} == files
    assert "DecisionTree on Digits" in (run / "log.txt").read_text()
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert "folds" not in config
    assert (config["data"]["init_args"]["folds"], config["data"]["init_args"]["fold"]) == (3, 2)
    assert resolve_checkpoint("last", folder.parent).parents[1] == run, "the newest run"
    before = scores(run)
    capsys.readouterr()
    again = ["fit", "--config", str(run / "config.yaml"), "--trainer.default_root_dir", "again"]
    assert main(again) == 0
    (rerun,) = Path("again").iterdir()
    assert scores(rerun) == before
    assert "fold 2 of 3" in capsys.readouterr().out
    assert main(["test", "--ckpt_path", str(run)]) == 0
    assert "test/accuracy" in capsys.readouterr().out


def test_what_is_printed(three_folds: tuple[Path, str]) -> None:
    folder, out = three_folds
    _, found = summary(str(folder.parent))
    lines = [line for line in out.splitlines() if line.startswith("fold ")]
    assert len(lines) == 3
    for fold, (line, row) in enumerate(zip(lines, found["folds"], strict=True)):
        assert line.startswith(f"fold {fold}, {fold + 1} of 3: validation accuracy {100 * row['val_accuracy']:.2f} %")
    assert f"{100 * found['spread']['val_accuracy']['mean']:.2f} %" in out
    assert f"{100 * found['spread']['val_accuracy']['std']:.2f} pt" in out
    assert "comparisons" not in out, "the table of costs is in the logs"
    assert "Try next" not in out


def test_each_subject_validates_once(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", "tests.cli.test_folds.Made", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", "--model", "GaussianNB", *data, "--folds", "5"]) == 0
    printed = capsys.readouterr()
    folder, found = summary()
    full, _ = Made().load()
    expected = {
        int(full.subjects[val][0]): (full.y[val], full.x[val])  # type: ignore[index]
        for _, val in LeaveOneGroupOut().split(full.x, groups=full.subjects)
    }
    assert sorted(row["val_subjects"] for row in found["folds"]) == [[subject] for subject in sorted(expected)]
    for row in found["folds"]:
        assert row["val_samples"] == len(expected[row["val_subjects"][0]][0])
    right = sum(round(row["val_accuracy"] * row["val_samples"]) for row in found["folds"])
    assert found["pooled_accuracy"] == right / 120
    assert (folder / "folds.png").read_bytes().startswith(b"\x89PNG")
    # Only subject 4 has no sample of class c, and that is said once and outside of the logs.
    (alone,) = [row["fold"] for row in found["folds"] if row["val_subjects"] == [4]]
    (note,) = found["notes"]
    assert note.startswith(f"fold {alone}: The validation part has no sample of c; its macro-F1")
    assert " ".join(printed.out.split()).count("has no sample of") == 1
    assert "no sample of" not in printed.err
    assert "no sample of c" in (folder / f"fold-{alone}" / "log.txt").read_text()
    assert not logging.getLogger("mcubench").handlers


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("fit --folds 1", ["--folds must be", "2 to 10,000", "'1'"]),
        ("fit --folds x", ["--folds must be", "'x'"]),
        ("fit --folds 10000000", ["2 to 10,000", "'10000000'"]),
        (f"fit --folds {'9' * 5000}", ["2 to 10,000"]),  # more digits than int() takes
        ("fit --folds 5000 --data.split random", ["n_splits=5000 greater than the number of samples"]),
        ("fit --folds=-3", ["--folds must be", "'-3'"]),
        ("fit --folds", ["--folds must be", "''"]),
        ("fit --fold 3", ["no option --fold"]),
        ("fit --folds 3 --data.fold 1", ["--data.fold is about a single one"]),
        ("fit --folds 3 --data.folds=3", ["--data.folds is about a single one"]),
        ("fit --folds 3 --ckpt_path last", ["--folds trains each fold from the start", "--ckpt_path"]),
        ("fit --folds 3 --config resume.yaml", ["--folds trains each fold from the start"]),
        ("fit --folds 3 --config folds.yaml", ["no option --folds"]),
        ("test --folds 3", ["--folds is an option of fit, not of test"]),
        ("profile --folds=3", ["--folds is an option of fit, not of profile"]),
        ("fit --folds 3 --model tests.foreign.MyNetWithData", ["the model brings its own data"]),
        ("fit --folds 3 --data null", ["needs a data module"]),
        (
            "fit --folds 3 --model tests.foreign.MyNet --data tests.foreign.MyData",
            ["options folds and fold, which MyData does not have", "TensorDataModule"],
        ),
        ("fit --folds 3 --model CN", ["--model CN", "Did you mean 'CNN'"]),
        ("fit --folds 3 --trainer.max_epocs 3", ["no option --trainer.max_epocs"]),
        ("fit --folds 6 --data tests.cli.test_folds.Made", ["needs as many subjects, got 5"]),
        ("fit --folds 3 --data.split subject", ["needs data with subjects"]),
        ("fit --folds 3 --budget.flash 1KiB", ["MLP is over budget"]),
        ("fit --folds 3 --trainer.fast_dev_run true", ["left no result.json", "fast_dev_run"]),
        (
            "fit --folds 3 --trainer.devices 2 --trainer.accelerator cpu --trainer.strategy ddp",
            ["use --trainer.devices 1"],
        ),
    ],
)
def test_one_line_says_what_to_do_and_nothing_is_left(
    workplace: Path, capsys: pytest.CaptureFixture[str], args: str, parts: list[str]
) -> None:
    (workplace / "resume.yaml").write_text("ckpt_path: last\n")
    (workplace / "folds.yaml").write_text("folds: 3\n")
    line = failure(capsys, *args.split())
    for part in parts:
        assert part in line
    assert not list(workplace.glob("runs/*"))


def test_the_configuration_of_a_cross_validation_is_that_of_its_first_fold(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--folds", "3", "--data", "HAPT", "--print_config"])
    assert caught.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["data"]["init_args"]["folds"], config["data"]["init_args"]["fold"]) == (3, 0)
    assert "folds" not in config


@pytest.mark.parametrize("words", [["--help"], ["--folds", "3", "--help"]])
def test_the_help_lists_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", *words])
    assert caught.value.code == 0
    assert "--folds 5: cross-validation" in capsys.readouterr().out


class Stopping:
    """Stands in for `run_verb`: raises in the place of fold 1."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.run_verb = error, several.run_verb

    def __call__(self, verb: str, args: list[str], run: Path) -> None:
        if run.name == "fold-1":
            raise self.error
        self.run_verb(verb, args, run)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped in fold 1 of 3; finished before it, and kept: fold 0"),
        (Terminated(), 143, "Stopped in fold 1 of 3; finished before it, and kept: fold 0"),
        (UserError("it broke"), 2, "fold 1 of 3: it broke"),
    ],
    ids=["Ctrl-C", "SIGTERM", "error"],
)
def test_what_is_finished_is_kept(
    error: BaseException,
    code: int,
    said: str,
    workplace: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(several, "run_verb", Stopping(error))
    assert main([*TREE, "--folds", "3"]) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    assert "Traceback" not in printed.out + printed.err
    (folder,) = Path("runs").iterdir()
    left = {path.name for path in folder.iterdir()}
    assert left == {"fold-0", "unfinished.json"}, "no empty folder, and no summary of a part"
    assert scores(folder / "fold-0")["accuracy"]["val"] > 0.7


def test_the_same_command_goes_on(
    three_folds: tuple[Path, str], workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TREE, "--folds=3", "--data.split_seed", "3"]
    with monkeypatch.context() as patch:
        patch.setattr(several, "run_verb", Stopping(KeyboardInterrupt()))
        assert main(words) == 130
        assert main([*words, "--seed_everything", "0"]) == 130, "other words"
    first, other = sorted(Path("runs").iterdir())
    result = first / "fold-0" / "result.json"
    before = result.stat().st_mtime_ns
    (first / "fold-1").mkdir()  # what a kill before the first checkpoint leaves
    (first / "fold-1" / "metrics.csv").write_text("step")
    assert main(words) == 0
    assert result.stat().st_mtime_ns == before, "a finished fold is not trained again"
    assert f"goes on: {first}" in capsys.readouterr().out
    assert {path.name for path in first.iterdir()} == {"fold-0", "fold-1", "fold-2", "folds.json"}
    found, expected = (json.loads((folder / "folds.json").read_text()) for folder in (first, three_folds[0]))
    assert found["spread"] == expected["spread"]
    assert found["notes"] == expected["notes"]
    assert not (other / "folds.json").exists()
    assert main(words) == 0
    assert len(list(Path("runs").iterdir())) == 3, "what is finished is begun anew"


def test_a_fold_that_was_stopped_goes_on_from_its_checkpoint(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["fit", *SMALL, "--model.hidden=[8]", "--trainer.max_epochs=2", "--folds=2"]
    with monkeypatch.context() as patch:
        patch.setattr("mcubench.cli.fitting.lightning.conclude_fit", _raise_in_the_second())
        assert main(words) == 130
    (folder,) = Path("runs").iterdir()
    last = folder / "fold-1" / "checkpoints" / "last.ckpt"
    before = last.read_bytes()
    assert not (folder / "fold-1" / "result.json").exists()
    assert main(words) == 0
    assert last.read_bytes() == before, "nothing was left to train"
    assert [row["epochs"] for row in summary()[1]["folds"]] == [2, 2]


def _raise_in_the_second() -> Any:
    from mcubench.cli.fitting.conclusion import conclude_fit

    def conclude(fit: Any, console: Any) -> None:
        if fit.folder.name == "fold-1":
            raise KeyboardInterrupt
        conclude_fit(fit, console)

    return conclude


@pytest.mark.real_data
def test_every_person_of_hapt_validates_once(
    workplace: Path, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["fit", "--model", "GaussianNB", "--data", "HAPT", "--data.root", str(real_data)]
    assert "needs as many subjects, got 21" in failure(capsys, *words, "--folds", "22")
    assert not list(workplace.glob("runs/*"))
    assert main([*words, "--trainer.enable_progress_bar", "false", "--folds", "3"]) == 0
    _, found = summary()
    test = {2, 4, 9, 10, 12, 13, 18, 20, 24}  # the authors' nine people
    validated = [subject for row in found["folds"] for subject in row["val_subjects"]]
    assert sorted(validated) == [subject for subject in range(1, 31) if subject not in test]
    assert sum(row["val_samples"] for row in found["folds"]) == 7_767
