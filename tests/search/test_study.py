"""A study that several processes work on.

References: what a single process does, and Optuna's own journal read without us.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from mcubench.errors import CorruptDataError, UserError
from mcubench.search import storage
from mcubench.search.budget import Budget, Price
from mcubench.search.storage import JOURNAL
from mcubench.search.study import Study

BUDGET = Budget(flash=100)


def open_study(folder: Path, **options: Any) -> Study:
    folder.mkdir(exist_ok=True)
    return Study(folder, "a study", **options)


def score(width: int) -> float:
    return 1 - (width - 40) ** 2 / 1e4


def work(study: Study, trials: int, stop: Callable[[int], None] = lambda _: None) -> None:
    """Trains models whose flash is twice their width, and that are best at 40."""
    while True:
        with study.claim(trials) as trial:
            if trial is None:
                return
            width = trial.suggest_int("width", 1, 100)
            stop(trial.number)
            price = Price(2 * width, 1, 1)
            if study.is_repeated(trial):
                study.repeat(trial)
            elif problem := BUDGET.problem(price):
                study.reject(trial, problem, BUDGET.excess(price), price)
            else:
                study.finish(trial, score(width), price, BUDGET.excess(price), pruned=False)


def content(study: Study) -> list[tuple[Any, ...]]:
    return [(row.number, row.outcome, dict(row.params), row.accuracy, row.fits) for row in study.rows()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = open_study(tmp_path_factory.mktemp("whole"))
    work(study, 12)
    return study


def test_as_many_are_trained_as_were_asked_for(whole: Study) -> None:
    rows = whole.rows()
    assert sum(row.outcome == "trained" for row in rows) == 12
    assert sum(row.outcome == "rejected" for row in rows) > 0
    assert all(row.fits == (row.params["width"] <= 50) for row in rows if row.outcome != "repeated")
    (best,) = whole.front()
    assert best.accuracy == max(row.accuracy or 0 for row in rows)


def test_optuna_knows_what_is_feasible(whole: Study) -> None:
    """Read by Optuna itself: its own best trial, and constraints in every trial that is not thrown away."""
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(whole.folder / JOURNAL)))
    study = optuna.load_study(study_name="a study", storage=storage)
    (best,) = whole.front()
    assert study.best_trial.number == best.number
    for trial in study.trials:
        if trial.state != optuna.trial.TrialState.FAIL:
            assert trial.constraints == {"flash": trial.params["width"] / 50 - 1}


def test_an_interrupted_study_goes_on_as_one_that_was_not(whole: Study, tmp_path: Path) -> None:
    """Each trial is interrupted once."""

    class DiesError(Exception):
        pass

    died: set[int] = set()

    def die(number: int) -> None:
        if number not in died:
            died.add(number)
            raise DiesError

    for _ in range(len(whole.rows()) + 1):
        try:
            work(open_study(tmp_path / "study"), 12, die)
            break
        except DiesError:
            continue
    assert len(died) == len(whole.rows())
    assert content(open_study(tmp_path / "study")) == content(whole)


def test_two_have_different_trials_and_one_that_died_is_taken_over(tmp_path: Path) -> None:
    one, other = open_study(tmp_path / "study"), open_study(tmp_path / "study")
    with one.claim(2) as first:
        assert first is not None
        first.suggest_int("width", 1, 100)
        with other.claim(2) as second:
            assert second is not None
            assert (first.number, second.number) == (0, 1)
            with one.claim(2) as third:
                assert third is None, "two are under way"
            other.finish(second, 0.5, Price(1, 1, 1), {}, pruned=False)
    with other.claim(2) as again:
        assert again is not None
        assert (again.number, again.params) == (0, first.params)
        other.finish(again, 0.5, Price(1, 1, 1), {}, pruned=False)
    with other.claim(2) as third:
        assert third is None
    assert not one.is_under_way()


def test_what_is_rejected_is_not_trained_and_what_fails_is_not_learned_from(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study", objectives=("accuracy", "flash"))
    for outcome in ("reject", "fail", "finish", "better", "pruned"):
        with study.claim(10) as trial:
            assert trial is not None
            trial.suggest_int("width", 1, 100)
            if outcome == "reject":
                study.reject(trial, "too large", {"flash": 0.5}, Price(150, 1, 1))
            elif outcome == "fail":
                study.fail(trial, "it broke")
            else:
                accuracy = {"finish": 0.5, "better": 0.75, "pruned": 1.0}[outcome]
                study.finish(trial, accuracy, Price(50, 1, 1), {"flash": -0.5}, pruned=outcome == "pruned")
    rows = study.rows()
    assert [row.outcome for row in rows] == ["rejected", "failed", "trained", "trained", "pruned"]
    assert [row.fits for row in rows] == [False, True, True, True, True]
    assert (rows[0].reason, rows[1].reason) == ("too large", "it broke")
    assert [row.number for row in study.front()] == [3], "trained to the end, and no other one beats it"


@pytest.mark.parametrize("kind", ["sqlite", "grpc"])
def test_other_storages(whole: Study, tmp_path: Path, kind: str) -> None:
    """A proxy of Optuna's own, in a process of its own."""
    url, process = f"sqlite:///{tmp_path / 'study.db'}", None
    if kind == "grpc":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        serve = (
            f"import optuna; optuna.storages.run_grpc_proxy_server(optuna.storages.RDBStorage({url!r}), port={port})"
        )
        process = subprocess.Popen([sys.executable, "-c", serve], stderr=subprocess.DEVNULL)
        url = f"grpc://localhost:{port}"
    try:
        work(open_study(tmp_path / "study", storage=url), 3)
        found = content(open_study(tmp_path / "study", storage=url))
        assert found == content(whole)[: len(found)]
        assert not (tmp_path / "study" / JOURNAL).exists()
    finally:
        if process is not None:
            process.kill()
            process.wait()


@pytest.mark.parametrize("url", ["nonsense", "grpc://localhost:1", "grpc://localhost", "postgresql://nobody@nowhere/x"])
def test_storages_that_can_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(storage, "_ANSWERS_WITHIN", 0.2)
    with pytest.raises(UserError, match="can't be opened"):
        open_study(tmp_path / "study", storage=url)


def test_half_a_line_of_the_journal_is_cut_off(tmp_path: Path) -> None:
    study = open_study(tmp_path / "study")
    work(study, 2)
    before = content(study)
    with (study.folder / JOURNAL).open("a") as file:
        file.write(json.dumps({"op_code": 4})[:7])
    again = open_study(tmp_path / "study")
    assert content(again) == before
    work(again, 3)
    assert sum(row.outcome == "trained" for row in open_study(tmp_path / "study").rows()) == 3


@pytest.mark.parametrize("damage", ["not what it should be\n", '{"op_code": 4}\n', "[]\n"])
def test_a_damaged_journal_is_named(tmp_path: Path, damage: str) -> None:
    study = open_study(tmp_path / "study")
    work(study, 2)
    path = study.folder / JOURNAL
    first, _, rest = path.read_text().partition("\n")
    path.write_text(f"{first}\n{damage}{rest}")
    with pytest.raises(CorruptDataError, match=r"journal\.log is damaged .*: restore it, or give another --study"):
        open_study(tmp_path / "study").rows()


@pytest.mark.parametrize("sampler", ["random", "nsga2", "gp"])
def test_other_samplers(tmp_path: Path, sampler: str) -> None:
    study = open_study(tmp_path / "study", sampler=sampler, objectives=("accuracy", "macs"))
    work(study, 4)
    assert sum(row.outcome == "trained" for row in study.rows()) == 4
    again = open_study(tmp_path / "again", sampler=sampler, objectives=("accuracy", "macs"))
    work(again, 4)
    assert content(again) == content(study), "the seed says it all"
