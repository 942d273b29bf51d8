"""What every baseline and every net must do from fit to predict, against scikit-learn called plainly."""

from __future__ import annotations

import contextlib
import csv
import functools
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score

from mcubench import baselines
from mcubench.baselines import Baseline
from mcubench.cli.main import main
from mcubench.cli.options.names import BASELINES, MODELS
from mcubench.cost import BitWidths, profile
from tests import forked
from tests.baselines.cases import CASES, ESTIMATORS, NETS, Case
from tests.trained import drawing

REPOSITORY = Path(__file__).parents[2]
PARTS = ("train", "val", "test")
QUIET = ("--trainer.enable_progress_bar", "false")
EPOCHS = 3
DRAWN = (ESTIMATORS[0], NETS[0])  # cases whose plots are drawn, and not replaced by a pixel


@dataclass(frozen=True)
class Run:
    """A finished fit."""

    case: Case
    folder: Path
    fits: list[int]
    """Number of samples of each call of the estimator's ``fit``."""

    @property
    def row(self) -> dict[str, Any]:
        row: dict[str, Any] = json.loads((self.folder / "result.json").read_text())
        return row

    def predicted(self, part: str) -> NDArray[np.int64]:
        """What the reference predicts: scikit-learn's estimator, or a net's weights taken from the checkpoint."""
        data = self.case.read()
        x = data.arrays(part)[0]  # type: ignore[arg-type]
        if self.case.reference is None:
            model = self.case.kind.load_from_checkpoint(self.folder / "checkpoints" / "best.ckpt", weights_only=True)
            with torch.inference_mode():
                return np.asarray(model.eval()(torch.tensor(x)).argmax(1))
        return np.asarray(_fitted(str(self.case)).predict(x.reshape(len(x), -1)))


@functools.cache
def _fitted(case: str) -> Any:
    """The reference, fitted on the arrays that training takes."""
    made = next(each for each in CASES if str(each) == case)
    assert made.reference is not None
    x, y = made.read().arrays("train")
    return made.reference().fit(x.reshape(len(x), -1), y)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Case], Run]]:
    """Fits a case, once a module."""

    @functools.cache
    def fit(name: str) -> Run:
        case = next(each for each in CASES if str(each) == name)
        fits: list[int] = []
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp("contract"))
            if case.reference is not None:
                count_fits(patch, type(case.reference()), fits)
            with drawing() if case in DRAWN else contextlib.nullcontext():
                assert main(["fit", *case.args, "--trainer.max_epochs", str(EPOCHS), *QUIET]) == 0
            (folder,) = Path("runs").resolve().iterdir()
        return Run(case, folder, fits)

    yield lambda case: fit(str(case))
    _fitted.cache_clear()


def count_fits(patch: pytest.MonkeyPatch, kind: type[Any], fits: list[int]) -> None:
    """Notes the samples of each call of ``fit`` on instances of `kind`, not of their parts."""
    plain = kind.fit

    @functools.wraps(plain)
    def counted(self: Any, x: NDArray[Any], *args: Any, **options: Any) -> Any:
        fits.append(len(x))
        return plain(self, x, *args, **options)

    patch.setattr(kind, "fit", counted)


@pytest.fixture
def run(case: Case, run_of: Callable[[Case], Run], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The finished fit of a case; the working folder is the one that it was run in."""
    run = run_of(case)
    monkeypatch.chdir(run.folder.parents[1])
    return run


def test_every_name_is_walked() -> None:
    assert {case.model for case in CASES} == {*BASELINES, *MODELS}
    assert {case.model for case in ESTIMATORS} == set(BASELINES), "a baseline is a Baseline"
    assert len({str(case) for case in CASES}) == len(CASES)
    without = [str(case) for case in ESTIMATORS if case.reference is None]
    assert not without, "tests/baselines/cases.py must say what they agree with"


def test_short_names_are_those_of_the_package() -> None:
    assert set(BASELINES) == set(baselines.__all__) - {"Baseline", "TRUSTED"}


@pytest.mark.parametrize("case", CASES, ids=str)
class TestContract:
    def test_result_has_the_scores_of_the_reference(self, case: Case, run: Run) -> None:
        # sklearn.metrics on predictions of the reference, which never went through a tensor or a checkpoint
        data = case.read()
        for part in PARTS:
            y, predicted = data.arrays(part)[1], run.predicted(part)  # type: ignore[arg-type]
            assert run.row["accuracy"][part] == pytest.approx(accuracy_score(y, predicted), abs=1e-12)
            assert run.row["macro_f1"][part] == pytest.approx(f1_score(y, predicted, average="macro"), abs=1e-12)
        assert run.row["accuracy"]["test"] > 0.5, "it has learned something"

    def test_files(self, case: Case, run: Run) -> None:
        made = {path.name for path in run.folder.iterdir()}
        plots = {"curves.png", "confusion.png"}
        assert made - {"predictions.csv"} == {"config.yaml", "metrics.csv", "result.json", "checkpoints", *plots}
        assert {(run.folder / plot).stat().st_size > 1000 for plot in plots} == {case in DRAWN}
        assert {path.name for path in (run.folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
        assert run.row["model"]["name"] == case.model
        for name, value in case.options.items():
            assert run.row["model"]["init_args"][name] == value

    def test_measuring_verbs_agree_with_the_result(
        self, case: Case, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for verb, part in (("validate", "val"), ("test", "test")):
            assert main([verb, "--ckpt_path", "best", *QUIET]) == 0
            printed = re.search(rf"{part}/accuracy\W+([\d.]+)", capsys.readouterr().out)
            assert printed is not None
            assert float(printed[1]) == pytest.approx(run.row["accuracy"][part], abs=1e-6)

    def test_predict_writes_the_classes_of_the_reference(self, case: Case, run: Run) -> None:
        assert main(["predict", "--ckpt_path", "best", *QUIET]) == 0
        rows = list(csv.DictReader((run.folder / "predictions.csv").open()))
        assert [int(row["class"]) for row in rows] == run.predicted("test").tolist()
        names = case.read().class_names
        assert all(row["name"] == names[int(row["class"])] and 0 <= float(row["output"]) <= 1 for row in rows)

    def test_profile_prices_what_the_fit_has_priced(
        self, case: Case, run: Run, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["profile", "--ckpt_path", "best", "--json", "costs.json"]) == 0
        profiled = json.loads(Path("costs.json").read_text())
        printed = capsys.readouterr().out
        for key in ("macs", "flash_bytes", "ram_bytes"):
            assert profiled[key] == run.row[key]
            assert (profiled[key] is None) == bool(profiled["unsupported"])
        assert ("? MACs" in printed) == bool(profiled["unsupported"])
        if case.reference is not None and not profiled["unsupported"]:
            # of the estimator that never was in a module or a checkpoint
            x = case.read().arrays("test")[0]
            reference = profile(_fitted(str(case)), torch.tensor(x).flatten(1), BitWidths(32, 32))
            assert reference.flash_bytes == profiled["flash_bytes"]

    def test_checkpoints_hold_tensors_and_plain_values(self, case: Case, run: Run) -> None:
        x = torch.tensor(case.read().arrays("test")[0])
        for name in ("best", "last"):
            path = run.folder / "checkpoints" / f"{name}.ckpt"
            torch.load(path, weights_only=True)
            model = case.kind.load_from_checkpoint(path, weights_only=True).eval()
            if name == "best" or case in ESTIMATORS:
                assert np.array_equal(model(x).argmax(1), run.predicted("test"))

    def test_a_finished_run_is_not_trained_again(
        self, case: Case, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "runs" / run.folder.name
        shutil.copytree(run.folder, folder)
        monkeypatch.chdir(tmp_path)
        before = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        fits: list[int] = []
        if case.reference is not None:
            count_fits(monkeypatch, type(case.reference()), fits)
        assert main(["fit", "--ckpt_path", "last", *QUIET]) == 0
        assert fits == []
        again = json.loads((folder / "result.json").read_text())
        for key in ("accuracy", "macro_f1", "form", "other_form", "steps", "checkpoint"):
            assert again[key] == run.row[key]
        after = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        assert after.keys() == before.keys()
        assert all(torch.equal(after[key], before[key]) for key in before if isinstance(before[key], torch.Tensor))


@pytest.mark.parametrize("case", ESTIMATORS, ids=str)
class TestBaselines:
    def test_fit_ran_once_on_the_whole_training_part(self, case: Case, run: Run) -> None:
        assert run.fits == [len(case.read().arrays("train")[1])]
        assert EPOCHS > 1
        assert run.row["epochs"] == 1
        assert run.row["steps"] == 1


def test_resuming_a_finished_baseline_counts_no_epoch(
    run_of: Callable[[Case], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_of(ESTIMATORS[0])
    shutil.copytree(run.folder, tmp_path / "runs" / run.folder.name)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--ckpt_path", "last", "--trainer.max_epochs", "50", *QUIET]) == 0
    again = json.loads((tmp_path / "runs" / run.folder.name / "result.json").read_text())
    assert again["epochs"] == 1
    assert again["seconds"]["epoch"] == pytest.approx(run.row["seconds"]["epoch"])
    assert "raise --trainer.max_epochs" not in capsys.readouterr().out, "no number of epochs trains a baseline further"


def test_nets_train_as_long_as_they_are_told(run_of: Callable[[Case], Run]) -> None:
    # the mistake that the stop of the baselines would be elsewhere
    for case in NETS:
        assert run_of(case).row["epochs"] == EPOCHS


_FRESH = """
import json, sys
import numpy as np, torch
from tests.baselines.cases import CASES
predictions = {}
for case in CASES:
    for name in json.loads(sys.argv[1]).get(str(case), []):
        torch.load(name, weights_only=True)
        model = case.kind.load_from_checkpoint(name, weights_only=True).eval()
        with torch.inference_mode():
            predictions[name.replace("/", "|")] = model(torch.tensor(case.read().arrays("test")[0])).argmax(1).numpy()
np.savez(sys.argv[2], **predictions)
"""


@pytest.mark.slow
def test_checkpoints_load_in_a_fresh_process(run_of: Callable[[Case], Run], tmp_path: Path) -> None:
    runs = [run_of(case) for case in CASES]
    paths = {str(run.case): [str(path) for path in (run.folder / "checkpoints").glob("*.ckpt")] for run in runs}
    script = ["-c", _FRESH, json.dumps(paths), str(tmp_path / "predictions.npz")]
    forked.run(script, cwd=REPOSITORY, timeout=120, check=True)
    with np.load(tmp_path / "predictions.npz") as predictions:
        assert len(predictions.files) == 2 * len(CASES)
        for run in runs:
            names = ("best", "last") if issubclass(run.case.kind, Baseline) else ("best",)
            for name in names:
                fresh = predictions[str(run.folder / "checkpoints" / f"{name}.ckpt").replace("/", "|")]
                assert np.array_equal(fresh, run.predicted("test"))
