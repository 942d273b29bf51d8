"""``search``: a budget in, a model out, chosen by validation alone.

References: the price in each run's own ``result.json``, means of the runs' scores, and the same search undisturbed.
"""

from __future__ import annotations

import builtins
import contextlib
import csv
import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from mcubench.cli.help import OVERVIEW, describe
from mcubench.cli.main import main
from mcubench.cli.searching import running
from mcubench.cli.searching.options import read_options
from mcubench.cli.searching.spaces import plan_of
from mcubench.models import MLP
from mcubench.results.comparison.rows import mean_of
from mcubench.results.lock import alone_in
from mcubench.search import Space, Whole
from mcubench.search.budget import Price
from mcubench.stopping import Terminated
from tests.cli.test_main import failure
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "search.md").read_text("utf-8")
DATA = ("--data", "Digits", "--data.size", "8", "--trainer.max_epochs", "2", "--threads", "1")
NETS = ("search", "--model", "MLP", *DATA, "--budget.flash", "1KiB", "--weight_bits", "8", "4", "--trials", "3")
TREES = ("search", "--model", "DecisionTree", *DATA, "--trials", "2", "--confirm_seeds", "0")


class Plain(MLP):
    """Says what can be varied of it, but for its width."""

    search_space = None  # type: ignore[assignment]


class Deep(MLP):
    """Breaks when it is trained with more than two neurons."""

    @classmethod
    def search_space(cls) -> Space:
        return {"width": Whole(1, 4)}

    def __init__(self, width: int = 1, **options: Any) -> None:
        super().__init__(hidden=[width], **options)
        self.width = width

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if self.width > 2:
            raise RuntimeError(f"{self.width} are too many")
        return super().training_step(batch, batch_idx)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A study's folder, and what was printed."""
    place = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(place)
        assert main([*NETS, "--confirm_seeds", "2", "--pruner", "none"]) == 0
    (folder,) = (place / "runs").iterdir()
    return folder, out.getvalue()


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "search.json").read_text())
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open() as file:
        return list(csv.DictReader(file))


def result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found


def test_trials_are_runs_whose_price_was_known_before(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    trained = [row for row in rows(folder) if row["outcome"] == "trained"]
    assert len(trained) == 3
    for row in trained:
        run = result(folder / f"trial-{int(row['trial']):04}" / "run")
        assert (run["flash_bytes"], run["ram_bytes"], run["macs"]) == tuple(
            int(row[name]) for name in ("flash_bytes", "ram_bytes", "macs")
        )
        assert run["flash_bytes"] <= 1024
        assert run["accuracy"]["val"] == float(row["val_accuracy"])
        assert run["form"] == "8-bit" or run["form"].startswith("4-bit weights"), "scored as it is priced"


def test_what_is_over_budget_is_not_trained(searched: tuple[Path, str]) -> None:
    folder, printed = searched
    rejected = [row for row in rows(folder) if row["outcome"] == "rejected"]
    assert rejected
    assert f"{len(rejected)} were rejected by their price" in printed
    for row in rejected:
        assert int(row["flash_bytes"]) > 1024
        assert row["reason"].startswith("flash ")
        assert not (folder / f"trial-{int(row['trial']):04}").exists()


def test_the_test_set_is_scored_for_the_front_only(searched: tuple[Path, str]) -> None:
    folder, printed = searched
    for run in folder.glob("trial-*/run"):
        assert result(run)["accuracy"]["test"] is None
        assert result(run)["accuracy"]["train"] is None
        assert "scored on validation only" in " ".join(result(run)["notes"])
    (best,) = read(folder)["front"]
    confirmed = [result(run) for run in folder.glob(f"confirm/*/trial-{best['trial']}-*/seed-*")]
    assert sorted(run["seed"] for run in confirmed) == [1, 2], "not the one that it was chosen with"
    for part, name in (("val", "validation"), ("test", "test")):
        mean = mean_of([run["accuracy"][part] for run in confirmed])
        assert best["confirmed"][name] == pytest.approx({"value": mean.value, "ci95": mean.half_width})
    gap = mean_of([run["accuracy"]["val"] - run["accuracy"]["test"] for run in confirmed])
    assert best["confirmed"]["gap"] == pytest.approx({"value": gap.value, "ci95": gap.half_width})
    assert f"{100 * best['confirmed']['test']['value']:.2f}" in printed


def test_the_best_is_the_best_of_validation(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    (best,) = read(folder)["front"]
    assert best["val_accuracy"] == max(float(row["val_accuracy"]) for row in rows(folder) if row["val_accuracy"])


def test_pictures_are_drawn(searched: tuple[Path, str]) -> None:
    folder, _ = searched
    assert (folder / "trials.png").stat().st_size > 0


def test_a_study_that_is_done_trains_nothing_more(
    searched: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, printed = searched
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")}
    monkeypatch.chdir(folder.parents[1])
    assert main([*NETS, "--confirm_seeds", "2", "--pruner", "none"]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("result.json")} == before
    assert capsys.readouterr().out.partition("search\n")[2] == printed.partition("search\n")[2]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_an_interrupted_search_ends_as_one_that_was_not(
    searched: tuple[Path, str], workplace: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    whole, _ = searched
    train, calls = running.train, list[int]()

    def interrupted(*args: Any) -> Any:
        calls.append(len(calls))
        if len(calls) == 2:
            raise stop
        return train(*args)

    monkeypatch.setattr(running, "train", interrupted)
    command = [*NETS, "--confirm_seeds", "0", "--pruner", "none"]
    assert main(command) == {KeyboardInterrupt: 130, Terminated: 143}[stop]
    assert main(command) == 0
    (folder,) = Path("runs").iterdir()
    assert rows(folder) == rows(whole)
    assert len(calls) == 4, "the finished one is not trained again"


def test_a_classical_model_is_priced_when_it_is_fitted(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["search", "--model", "DecisionTree", "MLP", *DATA, "--trials", "4", "--objectives", "accuracy", "flash"]
    assert main([*args, "--budget.flash", "600", "--confirm_seeds", "0"]) == 0
    (folder,) = Path("runs").iterdir()
    trees = [row for row in rows(folder) if row["model"].startswith("DecisionTree")]
    assert trees
    for row in trees:
        assert row["outcome"] in ("trained", "repeated")
        if row["outcome"] == "trained":
            assert int(row["flash_bytes"]) == result(folder / f"trial-{int(row['trial']):04}" / "run")["flash_bytes"]
            assert row["fits"] == str(int(row["flash_bytes"]) <= 600)
    front = read(folder)["front"]
    assert all(each["flash"] <= 600 for each in front)
    for each in front:  # no other one is as good for less
        assert not any(
            float(row["val_accuracy"]) >= each["val_accuracy"] and int(row["flash_bytes"]) < each["flash"]
            for row in rows(folder)
            if row["outcome"] == "trained"
        )


def test_a_training_that_does_not_keep_up_is_given_up(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna.pruners.SuccessiveHalvingPruner, "prune", lambda *_: True)
    assert main([*NETS[:-1], "1", "--confirm_seeds", "2", "--pruner", "halving"]) == 0
    (folder,) = Path("runs").iterdir()
    assert read(folder)["trials"]["pruned"] == 1
    assert read(folder)["front"] == [], "it was not trained to its end"
    (run,) = folder.glob("trial-*/run")
    assert result(run)["epochs"] == 1


def test_a_classical_model_is_not_given_up(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is fitted when it would be asked."""
    monkeypatch.setattr(optuna.pruners.SuccessiveHalvingPruner, "prune", lambda *_: True)
    assert main([*TREES, "--pruner", "halving"]) == 0
    (folder,) = Path("runs").iterdir()
    assert {row["outcome"] for row in rows(folder)} <= {"trained", "repeated"}
    assert read(folder)["front"]


def test_folds(workplace: Path) -> None:
    assert main([*TREES, "--folds", "2"]) == 0
    (folder,) = Path("runs").iterdir()
    trained = [row for row in rows(folder) if row["outcome"] == "trained"]
    for row in trained:
        place = folder / f"trial-{int(row['trial']):04}"
        scores = [result(place / f"fold-{fold}")["accuracy"]["val"] for fold in (0, 1)]
        assert float(row["val_accuracy"]) == pytest.approx(sum(scores) / 2)
        assert [result(place / f"fold-{fold}")["split"]["fold"] for fold in (0, 1)] == [0, 1]


def test_a_space_of_ones_own(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_REPEATS", 5)
    Path("space.yaml").write_text("model.max_depth: {int: [2, 2]}\nmodel.min_samples_leaf: {choice: [7]}\n")
    assert main([*TREES, "--space", "space.yaml"]) == 0
    (folder,) = Path("runs").iterdir()
    assert {row["model"] for row in rows(folder)} == {"DecisionTree max_depth 2, min_samples_leaf 7"}
    assert read(folder)["trials"]["trained"] == 1, "there is no other one"


def test_what_is_given_is_not_varied(workplace: Path) -> None:
    assert main([*TREES, "--model.max_depth", "3"]) == 0
    (folder,) = Path("runs").iterdir()
    assert all("max_depth" not in row["model"] for row in rows(folder))
    assert {result(run)["model"]["init_args"]["max_depth"] for run in folder.glob("trial-*/run")} == {3}


def test_a_mistake_in_one_model_does_not_cost_the_others(workplace: Path) -> None:
    args = ["search", "--model", f"{__name__}.Deep", *DATA, "--trials", "4", "--confirm_seeds", "0"]
    Path("space.yaml").write_text("model.width: {choice: [1, 2, 3, 4]}\nmodel.learning_rate: {choice: [0.01]}\n")
    args += ["--space", "space.yaml", "--weight_bits", "8", "--sampler", "random"]
    with contextlib.suppress(RuntimeError):  # the first one's mistake is likely to be all others'
        assert main(args) == 0
    assert main(args) == 0
    (folder,) = Path("runs").iterdir()
    tried = [row for row in rows(folder) if row["outcome"] != "repeated"]
    outcomes = {row["model"].partition("width ")[2][0]: (row["outcome"], row["reason"]) for row in tried}
    assert {width: outcome for width, (outcome, _) in outcomes.items()} == {
        "1": "trained",
        "2": "trained",
        "3": "failed",
        "4": "failed",
    }
    assert next(reason for outcome, reason in outcomes.values() if outcome == "failed").endswith("are too many")
    logs = [path.read_text("utf-8") for path in folder.glob("trial-*/run/log.txt")]
    assert len([log for log in logs if "Traceback" in log and "are too many" in log]) == 2, "in full, of each"


def test_a_study_is_of_one_question(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TREES, "--study", "mine"]) == 0
    capsys.readouterr()
    found = failure(capsys, *TREES, "--study", "mine", "--budget.flash", "1KiB", "--sampler", "random")
    assert "mine has a study with other budget, sampler: give another --study" in found


@pytest.mark.parametrize("damage", ["", "[]", '{"name": 5}', "{"])
def test_what_a_study_is_about_is_read_with_care(
    workplace: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    Path("mine").mkdir()
    Path("mine/study.json").write_text(damage)
    assert "study.json is damaged" in failure(capsys, *TREES, "--study", "mine")


def test_one_process_sums_up(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*TREES, "--study", "mine"]) == 0
    Path("mine/search.json").unlink()
    with alone_in(Path("mine")):
        assert main([*TREES, "--study", "mine"]) == 0
    assert "another process sums up in mine" in capsys.readouterr().out
    assert not Path("mine/search.json").exists()


def test_nothing_fits(workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_PATIENCE", 4)
    found = failure(capsys, "search", "--model", "MLP", *DATA, "--budget.flash", "20")
    assert "nothing fits the budget (flash 20 B)" in found
    assert "MLP learning_rate 0.001, hidden [4], 2 bits, has flash " in found


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--model", "MPL"], "there is no such class. Did you mean 'MLP'?"),
        ([], "the following arguments are required: --model"),
        (["--model", "MLP", "--trails", "3"], "search has no option --trails. Did you mean '--trials'?"),
        (["--model", "MLP", "--trials", "0"], "must be a whole number, 1 or more; got '0'"),
        (["--model", "MLP", "--weight_bits", "3"], "invalid choice: 3"),
        (["--model", "MLP", "--weight_bits", "8", "8"], "--weight_bits has a width twice"),
        (["--model", "MLP", "MLP"], "each model is given once"),
        (
            ["--model", "MLP", "--objectives", "flash", "--pruner", "halving"],
            "it is for one objective, without --folds",
        ),
        (["--model", "MLP", "--seeds", "3"], "--seeds is an option of fit, not of search"),
        (["--model", "MLP", "--ckpt_path", "last"], "a study goes on by the same command"),
        (["--model", "MLP", "--budget.flash", "much"], "budget.flash must be bytes"),
        (["--model", "MLP", "--space", "nowhere.yaml"], "space nowhere.yaml can't be read"),
        (["--model", "MLP", "--model.hiden", "[3]"], "MLP has no option 'hiden'. Did you mean 'hidden'?"),
        (["--model", "MLP", "--storage", "nonsense"], "--storage nonsense"),
    ],
)
def test_mistakes(workplace: Path, capsys: pytest.CaptureFixture[str], args: list[str], message: str) -> None:
    assert message in failure(capsys, "search", *args, "--data", "Digits")
    assert not list(Path().rglob("trial-*"))


def test_nothing_can_be_made(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_PATIENCE", 3)
    Path("space.yaml").write_text("model.kernel_size: {choice: [2, 4, 6]}\n")
    found = failure(capsys, "search", "--model", "DSCNN", *DATA, "--space", "space.yaml")
    assert "none of 3 models can be made and priced; DSCNN learning_rate" in found
    assert "kernel_size must be odd and positive, got 2" in found


def test_what_is_searched_for_must_be_known(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = running.train
    monkeypatch.setattr(running, "train", lambda *args: replace(train(*args), price=Price(None, 1, 1)))
    args = [*TREES, "--objectives", "accuracy", "flash"]
    assert main(args) == 2
    (folder,) = Path("runs").iterdir()
    assert main(args) == 0
    assert {row["reason"] for row in rows(folder)} == {"what it costs is not known: flash"}


def test_a_class_that_says_nothing(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = failure(capsys, "search", "--model", f"{__name__}.Plain", "--data", "Digits")
    assert "nothing of" in found
    assert "give its class a classmethod search_space, or --space FILE; its options are " in found
    Path("space.yaml").write_text("model.hidden_size: {int: [1, 2]}\n")
    found = failure(capsys, "search", "--model", f"{__name__}.Plain", "--data", "Digits", "--space", "space.yaml")
    assert "has no option 'hidden_size'. Did you mean 'hidden'?" in found


def test_documented_commands_are_of_options_and_spaces_that_there_are(workplace: Path) -> None:
    Path("space.yaml").write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    texts = [describe("search"), OVERVIEW, PAGE, (REPOSITORY / "README.md").read_text("utf-8")]
    commands = set(re.findall(r"python -m mcubench (search [^#`\n]*)", "\n".join(texts).replace("\\\n", " ")))
    assert len(commands) >= 8
    for command in commands:
        if "my_file" not in command and "..." not in command:
            assert plan_of(read_options(shlex.split(command)[1:])).spaces


def test_without_optuna(workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **options: Any) -> Any:
        if name == "optuna":
            raise ModuleNotFoundError("No module named 'optuna'", name="optuna")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert "search needs optuna: pip install 'mcubench[search]'" in failure(capsys, *TREES)
