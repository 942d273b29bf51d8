"""Saved estimators come back as they were; what was tampered with is refused, and nothing in it is run."""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from mcubench.baselines import TRUSTED, DecisionTree
from mcubench.baselines.storage import read_estimator, write_estimator
from mcubench.cli.main import main
from mcubench.errors import UserError
from tests import forked
from tests.baselines.cases import ESTIMATORS, Case, digits, failure

QUIET = ("--trainer.enable_progress_bar", "false")


def tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def small() -> tuple[Any, Any]:
    x, y = digits()
    return x[:150].reshape(150, -1), y[:150]


@functools.cache
def saved() -> bytes:
    """A small tree's file."""
    return write_estimator(DecisionTreeClassifier(max_depth=3, random_state=0).fit(*small())).numpy().tobytes()


def members(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(files: dict[str, Any]) -> bytes:
    """A zip with right checksums, as somebody who means harm would write it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def with_schema(**changed: Any) -> bytes:
    """The small tree's file, with another outermost entry."""
    files = members(saved())
    schema = json.loads(files["schema.json"]) | changed
    return zipped({**files, "schema.json": json.dumps(schema)})


class Touch(BaseEstimator, ClassifierMixin):
    """Leaves a file behind whenever it is made, restored or unpickled: what must not happen."""

    canary = Path()

    def __init__(self, armed: bool = False) -> None:
        self.armed = armed
        type(self).canary.touch()

    def __setstate__(self, state: Any) -> None:
        type(self).canary.touch()

    def __reduce__(self) -> Any:
        return os.system, (f"touch {type(self).canary}",)


class Held(DecisionTreeClassifier):
    """A subclass from somebody's file."""


@pytest.fixture
def canary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "canary"
    monkeypatch.setattr(Touch, "canary", path)
    return path


class TestRoundTrip:
    @pytest.mark.parametrize("case", ESTIMATORS, ids=str)
    def test_it_predicts_the_same(self, case: Case) -> None:
        # the reference is the estimator before it was written
        module = case.make()
        module.fit(*digits())
        content = write_estimator(module.estimator)
        assert content.dtype == torch.uint8
        again: Any = read_estimator(content)
        x = digits("test")[0].reshape(-1, 64)
        assert type(again) is type(module.estimator)
        assert np.array_equal(again.predict(x), module.estimator.predict(x))
        assert str(again.get_params()) == str(module.estimator.get_params())
        if hasattr(module.estimator, "predict_proba"):
            # not equal: threads add up the trees of a forest in any order
            assert np.allclose(again.predict_proba(x), module.estimator.predict_proba(x), rtol=0, atol=1e-12)

    def test_a_module_takes_it_over(self) -> None:
        module, again = (DecisionTree(input_shape=(1, 8, 8), num_classes=10) for _ in range(2))
        module.fit(*small())
        again.load_state_dict(module.state_dict())
        assert again.is_fitted
        assert again.fitted_on == 150
        x = torch.tensor(digits("test")[0])
        assert torch.equal(again(x), module(x))

    def test_what_is_not_fitted(self) -> None:
        assert len(write_estimator(None)) == 0
        assert read_estimator(write_estimator(None)) is None
        again = DecisionTree(input_shape=(1, 8, 8), num_classes=10)
        again.load_state_dict(DecisionTree(input_shape=(1, 8, 8), num_classes=10).state_dict())
        assert not again.is_fitted

    @pytest.mark.parametrize(
        "make",
        [
            lambda: make_pipeline(SimpleImputer(), GaussianNB()),
            lambda: CalibratedClassifierCV(GaussianNB(), cv=2),
        ],
        ids=["SimpleImputer", "CalibratedClassifierCV"],
    )
    def test_other_parts_of_scikit_learn(self, make: Callable[[], Any]) -> None:
        x, y = small()
        estimator = make().fit(x, y)
        again: Any = read_estimator(write_estimator(estimator))
        assert np.array_equal(again.predict(x), estimator.predict(x))

    @pytest.mark.parametrize("estimator", [Held(max_depth=2), make_pipeline(FunctionTransformer(abs), Held())], ids=str)
    def test_what_could_not_be_read_is_not_written(self, estimator: Any) -> None:
        with pytest.raises(UserError, match="Held"):
            write_estimator(estimator.fit(*small()))

    def test_a_function_among_the_options_is_not_written(self) -> None:
        # SelectKBest keeps the function that it ranks by; trusting functions would let a file call them
        with pytest.raises(UserError, match=r"can't be saved: it holds .*f_classif"):
            write_estimator(make_pipeline(SelectKBest(k=9), GaussianNB()).fit(*small()))


class TestTrusted:
    def test_no_name_twice(self) -> None:
        assert len(set(TRUSTED)) == len(TRUSTED)
        assert list(TRUSTED) == sorted(TRUSTED)

    @pytest.mark.parametrize("name", TRUSTED)
    def test_each_is_a_class(self, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        kind = getattr(importlib.import_module(module), attribute)
        assert isinstance(kind, type), "functions could do anything with the arguments that a file gives them"
        assert module.split(".")[0] in ("sklearn", "mcubench", "numpy")
        assert f"{kind.__module__}.{kind.__qualname__}" == name

    def test_it_is_the_list_that_lets_trees_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        trusted = skops.io.dumps(DecisionTreeClassifier().fit([[0], [1]], [0, 1]))
        assert skops.io.get_untrusted_types(data=trusted) == ["sklearn.tree._tree.Tree"]
        monkeypatch.setattr("mcubench.baselines.storage.TRUSTED", ())
        with pytest.raises(UserError, match=r"refused: it holds sklearn\.tree\._tree\.Tree"):
            read_estimator(tensor(trusted))


class TestDamage:
    def test_every_truncation(self) -> None:
        content = saved()
        for length in range(1, len(content), 97):
            with pytest.raises(UserError, match=r"the saved estimator is damaged, or no skops file"):
                read_estimator(tensor(content[:length]))

    def test_flipped_bits_of_what_is_stored(self) -> None:
        # checksums of the zip are what notices
        files, content = members(saved()), saved()
        for stored in files.values():
            start = content.index(stored)
            for position in np.random.default_rng(0).integers(start, start + len(stored), 20):
                broken = bytearray(content)
                broken[position] ^= 4
                with pytest.raises(UserError, match="damaged"):
                    read_estimator(tensor(bytes(broken)))

    def test_flipped_bits_of_the_directory(self) -> None:
        content = saved()
        x, _ = small()
        expected = read_estimator(tensor(content)).predict(x)  # type: ignore[union-attr]
        last = content.rindex(b"PK\x01\x02")
        for bit in range(8 * last, 8 * len(content)):
            broken = bytearray(content)
            broken[bit // 8] ^= 1 << bit % 8
            try:
                again: Any = read_estimator(tensor(bytes(broken)))
            except UserError:
                continue
            else:  # a date, say
                assert np.array_equal(again.predict(x), expected)

    @pytest.mark.parametrize(
        "content",
        [
            b"x",
            b"PK\x03\x04",
            zipped({}),
            zipped({"readme.txt": "no schema"}),
            zipped({"schema.json": ""}),
            zipped({"schema.json": "{"}),
            zipped({"schema.json": "{}"}),
            zipped({"schema.json": b"\xff\xfe\x00"}),
            with_schema(protocol=-1),
            with_schema(protocol="x"),
            with_schema(__loader__="NoSuchNode"),
            with_schema(__loader__="JsonNode", content="}"),
            with_schema(__loader__="CachedNode", __id__=77),
            zipped({"schema.json": members(saved())["schema.json"]}),
            zipped({"schema.json": "[]"}),
            zipped({"schema.json": "null"}),
            zipped({"schema.json": "[" * 100_000 + "]" * 100_000}),
            with_schema(content=[]),
        ],
        ids=lambda content: f"{len(content)} B",
    )
    def test_what_is_no_skops_file(self, content: bytes) -> None:
        with pytest.raises(UserError, match=r"the saved estimator is (damaged, or no skops file|a )"):
            read_estimator(tensor(content))


class TestMalice:
    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (os.system, "system"),
            (subprocess.call, "subprocess.call"),
            (builtins.eval, "builtins.eval"),
            (builtins.exec, "builtins.exec"),
            (pickle.loads, "pickle.loads"),
            (np.load, "numpy.load"),
            (torch.load, "torch.serialization.load"),
            (functools.partial(os.system, "touch canary"), "functools.partial"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_functions_in_a_pipeline(self, function: Any, name: str) -> None:
        content = skops.io.dumps(make_pipeline(FunctionTransformer(function), DecisionTreeClassifier()))
        with pytest.raises(UserError, match=rf"refused: it holds .*{name}.*mcubench.baselines.TRUSTED"):
            read_estimator(tensor(content))

    def test_an_estimator_of_somebody_elses(self, canary: Path) -> None:
        content = skops.io.dumps(DecisionTreeClassifier().fit(*small()))
        files = members(content)
        schema = json.loads(files["schema.json"])
        schema |= {"__class__": "Touch", "__module__": __name__}
        content = zipped({**files, "schema.json": json.dumps(schema)})
        with pytest.raises(UserError, match=r"refused: it holds .*Touch"):
            read_estimator(tensor(content))
        assert not canary.exists()
        skops.io.loads(content, trusted=[f"{__name__}.Touch", *TRUSTED])
        assert canary.exists(), "without the list it would have run"

    def test_another_class_written_into_the_schema(self) -> None:
        with pytest.raises(UserError, match=r"(refused|damaged)"):
            read_estimator(tensor(with_schema(__module__="os", __class__="system")))

    @pytest.mark.parametrize("dump", [pickle.dumps, lambda each: zipped({"schema.json": pickle.dumps(each)})])
    def test_a_pickle(self, dump: Callable[[Any], bytes], canary: Path) -> None:
        content = dump(Touch.__new__(Touch))
        with pytest.raises(UserError, match="damaged, or no skops file"):
            read_estimator(tensor(content))
        assert not canary.exists()

    def test_a_pickle_among_the_arrays(self, canary: Path) -> None:
        array = io.BytesIO()
        np.save(array, np.array([Touch.__new__(Touch)], object), allow_pickle=True)
        files = members(saved())
        (name, *_) = (name for name in files if name.endswith(".npy"))
        with pytest.raises(UserError, match="damaged, or no skops file"):
            read_estimator(tensor(zipped({**files, name: array.getvalue()})))
        assert not canary.exists()
        np.load(io.BytesIO(array.getvalue()), allow_pickle=True)
        assert canary.exists(), "numpy would have run it"

    @pytest.mark.parametrize("held", [{"a": 1}, [1, 2], np.arange(3)], ids=["dict", "list", "ndarray"])
    def test_what_is_no_estimator(self, held: Any) -> None:
        with pytest.raises(UserError, match=f"the saved estimator is a {type(held).__name__}, not a fitted classifier"):
            read_estimator(tensor(skops.io.dumps(held)))


def with_nodes(estimator: Any, **changed: tuple[int, int]) -> Any:
    """A fitted tree, with one value of some arrays of its nodes changed."""
    tree = estimator.tree_
    state = tree.__getstate__()
    nodes = state["nodes"].copy()
    for name, (node, value) in changed.items():
        nodes[name][node] = value
    made = type(tree)(tree.n_features, tree.n_classes, tree.n_outputs)
    made.__setstate__({**state, "nodes": nodes})
    estimator.tree_ = made
    return estimator


class TestTrees:
    """Predicting with these would crash the process, read what is not theirs, or never end."""

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"left_child": (0, 10**7)}, "leads nowhere"),
            ({"right_child": (0, 0)}, "leads nowhere"),
            ({"right_child": (1, 0)}, "leads nowhere"),
            ({"right_child": (0, -2)}, "leads nowhere"),
            ({"feature": (0, 10**9)}, "tests a feature that is not there"),
            ({"feature": (0, 64)}, "tests a feature that is not there"),
            ({"feature": (0, -5)}, "tests a feature that is not there"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("forest", [False, True], ids=["tree", "forest"])
    def test_nodes_that_lead_out(self, changed: dict[str, tuple[int, int]], message: str, forest: bool) -> None:
        estimator: Any = RandomForestClassifier(3, max_depth=3, random_state=0) if forest else DecisionTreeClassifier()
        estimator.fit(*small())
        with_nodes(estimator.estimators_[2] if forest else estimator, **changed)
        with pytest.raises(UserError, match=f"the saved estimator is damaged: a node of a tree {message}"):
            read_estimator(write_estimator(estimator))

    @pytest.mark.parametrize(("name", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 64)])
    def test_nodes_of_boosting(self, name: str, value: int) -> None:
        estimator = HistGradientBoostingClassifier(max_iter=2).fit(*small())
        estimator._predictors[1][3].nodes[name][0] = value
        with pytest.raises(UserError, match="the saved estimator is damaged: a node of a tree"):
            read_estimator(write_estimator(estimator))

    @pytest.mark.parametrize("classes", [["a", "b"], [[0], [1]], [-1, 1], []], ids=str)
    def test_classes_that_are_none(self, classes: Any) -> None:
        module = DecisionTree(input_shape=(1, 8, 8), num_classes=10)
        module.fit(*small())
        module.estimator.classes_ = np.array(classes)
        again = DecisionTree(input_shape=(1, 8, 8), num_classes=10)
        with pytest.raises(UserError, match="the saved estimator is damaged: its classes are not numbers from 0"):
            again.load_state_dict(module.state_dict())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a small tree's run lies in."""
    root = tmp_path_factory.mktemp("tree")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        args = ["fit", "--model", "DecisionTree", "--model.max_depth", "3", "--data", "Digits", "--data.size", "8"]
        assert main([*args, *QUIET]) == 0
    return root


def replaced(run: Path, state: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy of the run's checkpoint, with another state of the estimator."""
    (path,) = run.glob("runs/*/checkpoints/last.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"]["_extra_state"] = state(checkpoint["state_dict"]["_extra_state"])
    torch.save(checkpoint, run / "bad.ckpt")
    return run / "bad.ckpt"


TEST = ("test", "--model", "DecisionTree", "--data", "Digits", "--data.size", "8", *QUIET, "--ckpt_path")


def estimator(content: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda state: {**state, "estimator": content() if callable(content) else content}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        pytest.param(estimator(tensor(pickle.dumps({}))), "no skops file", id="pickle"),
        pytest.param(estimator(tensor(saved()[:-40])), "damaged", id="truncated"),
        pytest.param(estimator(tensor(bytes(100))), "damaged", id="zeros"),
        pytest.param(
            estimator(lambda: tensor(skops.io.dumps(make_pipeline(FunctionTransformer(os.system))))),
            "refused: it holds",
            id="system",
        ),
        pytest.param(estimator("x"), "damaged", id="text"),
        pytest.param(estimator(None), "damaged", id="none"),
        pytest.param(lambda _: {}, "damaged", id="empty"),
        pytest.param(lambda _: 3, "damaged", id="number"),
        pytest.param(
            estimator(lambda: write_estimator(PCA(2).fit(small()[0]))),
            "PCA",
            id="transformer",
        ),
        pytest.param(
            estimator(lambda: write_estimator(DecisionTreeClassifier())),
            "fitted",
            id="unfitted",
        ),
    ],
)
def test_a_tampered_checkpoint_is_refused_in_one_line(
    run: Path,
    state: Callable[[dict[str, Any]], Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(run)
    assert message in failure(capsys, *TEST, str(replaced(run, state)))


def test_an_untouched_copy_is_not(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what the test above relies on: only the replaced state is wrong with its checkpoints
    monkeypatch.chdir(run)
    assert main([*TEST, str(replaced(run, lambda state: state))]) == 0


@pytest.mark.parametrize("verb", ["test", "validate", "predict", "fit"])
def test_a_pickle_in_place_of_the_checkpoint(
    verb: str, run: Path, canary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run)
    path = canary.with_name("bad.ckpt")
    path.write_bytes(pickle.dumps(Touch.__new__(Touch)))
    line = failure(capsys, verb, *TEST[1:-1], "--ckpt_path", str(path))
    assert "bad.ckpt is damaged, or is no checkpoint: it does not begin as the files of torch.save do" in line
    assert not canary.exists()


@pytest.mark.slow
def test_a_tampered_checkpoint_in_a_process(run: Path, canary: Path) -> None:
    path = replaced(run, estimator(tensor(pickle.dumps(Touch.__new__(Touch)))))
    report = forked.run(["-m", "mcubench", *TEST, str(path)], cwd=run, timeout=120)
    assert report.returncode == 2
    assert "Traceback" not in report.stderr
    assert report.stderr.count("mcubench: error: the saved estimator is damaged, or no skops file") == 1
    assert not canary.exists()


@pytest.mark.parametrize("args", [["--model", "KNN"], ["--data.size", "9"]], ids=["model", "size"])
def test_a_checkpoint_of_another_model_does_not_fit(
    run: Path,
    args: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(run)
    assert "does not fit" in failure(capsys, "test", "--ckpt_path", "last", *args, *QUIET)
