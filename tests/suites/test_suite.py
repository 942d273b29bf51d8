"""What a suite's file may say, and which runs it plans.

References: a suite written out by hand, and the options that `fit` itself knows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mcubench.cli.options.names import BASELINES, MODELS, find_option
from mcubench.errors import UserError
from mcubench.suites import SUITES, find_suite

SMALL = {
    "seeds": [3, 1],
    "tables": {
        "Digits": {
            "options": "--data Digits --data.size 8",
            "rows": {"a tree": "--model DecisionTree", "MLP [8]": "--model MLP --model.hidden '[8, 4]'"},
        },
        "Waves & co": {"options": "--data my.Waves", "rows": {"a tree": "--model DecisionTree"}},
    },
}


def written(tmp_path: Path, content: Any) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    return str(path)


def test_runs_of_a_suite(tmp_path: Path) -> None:
    suite = find_suite(written(tmp_path, SMALL))
    runs = list(suite.runs(Path("runs")))
    assert [str(run) for run in runs] == [
        "Digits, a tree, seed 3",
        "Digits, MLP [8], seed 3",
        "Waves & co, a tree, seed 3",
        "Digits, a tree, seed 1",
        "Digits, MLP [8], seed 1",
        "Waves & co, a tree, seed 1",
    ]
    assert runs[1].words == (
        *("--data", "Digits", "--data.size", "8", "--model", "MLP", "--model.hidden", "[8, 4]"),
        *("--seed_everything", "3"),
    )
    assert [part.rpartition("-")[0] or part for part in runs[2].folder.parts] == [
        *("runs", "mine", "waves", "a-tree", "seed")
    ]
    assert len({run.folder for run in runs}) == 6


def test_a_row_keeps_its_folder_until_its_options_change(tmp_path: Path) -> None:
    def folders(content: Any) -> list[Path]:
        return [run.folder for run in find_suite(written(tmp_path, content)).runs(tmp_path)]

    before = folders(SMALL)
    assert folders({**SMALL, "seeds": [1, 3]}) == [*before[3:], *before[:3]]
    deeper = yaml.safe_load(yaml.safe_dump(SMALL, sort_keys=False))
    deeper["tables"]["Digits"]["rows"]["a tree"] += " --model.max_depth 4"
    after = folders(deeper)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, True, True, False, True, True]


def test_only_a_result_makes_a_run_done(tmp_path: Path) -> None:
    run = next(find_suite(written(tmp_path, SMALL)).runs(tmp_path))
    assert not run.is_done
    (run.folder / "checkpoints").mkdir(parents=True)
    (run.folder / "config.yaml").touch()
    assert not run.is_done
    (run.folder / "result.json").touch()
    assert run.is_done


def changed(**changes: Any) -> dict[str, Any]:
    return {**SMALL, **changes}


def table(**changes: Any) -> dict[str, Any]:
    return changed(tables={"Digits": {"options": "", "rows": {"a": "--model MLP"}, **changes}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [", "is not YAML"),
        ("seeds: [0]\ntables: {}\nseeds: [1]", "'seeds' is given twice, in lines 1 and 3"),
        (
            table(rows={1: "--model MLP", "1": "--model CNN"}),
            "rows has a name twice: '1', 1|rows has a name twice: 1, '1'",
        ),
        (table(rows={"a": "--model MLP", "A": "--model MLP"}), "Digits, a and Digits, A are one run under two names"),
        (changed(seeds=[2**32]), "seeds go up to 4294967295; got 4294967296"),
        (table(rows={"a": "--model MLP --trust"}), "--trust is not for suites"),
        (table(rows={"a": "--seeds=3"}), "--seeds=3 is not for suites"),
        ("", "the file must be a set of names with values; got None"),
        ("[1]", r"the file must be a set of names with values; got \[1\]"),
        ({"seeds": [0]}, "the file must have seeds and tables; got seeds"),
        (changed(seed=[1]), "the file must have seeds and tables; got seeds, tables, seed"),
        (changed(seeds=3), "seeds must be a list of whole numbers .* got 3"),
        (changed(seeds=[]), r"seeds must be a list of whole numbers .* got \[\]"),
        (changed(seeds=[True]), "seeds must be a list of whole numbers"),
        (changed(seeds=[-1]), "seeds must be a list of whole numbers"),
        (changed(seeds=[1, 1]), "seeds has a seed twice"),
        (changed(tables={}), "tables must be a set of names"),
        (changed(tables={"Digits": {"rows": {}}}), "tables, Digits must have options and rows; got rows"),
        (table(rows={}), "tables, Digits, rows must be a set of names"),
        (table(rows={"a": None}), "tables, Digits, rows, a must be options of fit in one line; got None"),
        (table(rows={"a": ["--model", "MLP"]}), "rows, a must be options of fit in one line"),
        (table(options="--model 'MLP"), "tables, Digits, options: No closing quotation"),
        (table(rows={"a": "--seed_everything 7"}), "rows, a: --seed_everything is not for suites"),
        (table(rows={"a": "--ckpt_path=last"}), "rows, a: --ckpt_path=last is not for suites"),
        (table(options="--trainer.default_root_dir x"), "--trainer.default_root_dir is not for suites"),
        (table(rows={"a": "--model MLP --print_config"}), "--print_config is not for suites"),
    ],
)
def test_mistakes_in_the_file(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"suite .*mine.yaml.*{message}"):
        find_suite(written(tmp_path, content))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("exercise", "there is no suite 'exercise'. Did you mean 'exercise3'"),
        ("none.yaml", "there is no such file"),
    ],
)
def test_mistakes_in_the_name(given: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_suite(given)


@pytest.mark.parametrize("name", SUITES)
def test_suites_that_come_along(name: str) -> None:
    suite = find_suite(name)
    assert suite.name == name
    for run in suite.runs(Path("runs")):
        assert find_option(run.words, "--model") in (*MODELS, *BASELINES)
        assert find_option(run.words, "--data") == run.table
        assert ("samples)" in run.row) == (find_option(run.words, "--model.max_samples") is not None)


def test_the_exercise_is_as_large_as_it_should_be() -> None:
    # what the exercise's table must hold: 8 classical and 4 neural rows for each data set, 3 seeds
    suite = find_suite("exercise3")
    assert len(suite.seeds) >= 3
    for rows in suite.tables.values():
        models = [find_option(words, "--model") for words in rows.values()]
        assert sum(model in BASELINES for model in models) >= 8
        assert sum(model in MODELS for model in models) >= 4


TAUGHT = {
    "seeds": [3, 1],
    "teachers": {"large": "--data Digits --model LeNet"},
    "tables": {
        "Digits": {
            "options": "--data Digits",
            "rows": {
                "taught": "--model MLP --distill large",
                "taught too": "--model CNN --distill=large",
                "by a run": "--model MLP --distill runs/mine",
                "alone": "--model MLP",
            },
        }
    },
}


def test_rows_learn_from_a_teacher_by_its_name(tmp_path: Path) -> None:
    suite = find_suite(written(tmp_path, TAUGHT))
    (lesson,) = suite.lessons(Path("runs"))
    assert (lesson.table, lesson.row, lesson.seed) == ("teachers", "large", 3)
    assert lesson.words == ("--data", "Digits", "--model", "LeNet", "--seed_everything", "3")
    best = str(lesson.folder / "checkpoints" / "best.ckpt")
    assert best.startswith("runs/mine/teachers/large-")
    words = {(run.row, run.seed): run.words for run in suite.runs(Path("runs"))}
    for seed in (3, 1):
        assert words["taught", seed][4:6] == ("--distill", best)
        assert words["taught too", seed][4] == f"--distill={best}"
        assert words["by a run", seed][4:6] == ("--distill", "runs/mine")
        assert words["alone", seed] == ("--data", "Digits", "--model", "MLP", "--seed_everything", str(seed))


def test_who_learns_from_another_teacher_is_trained_again_wherever_the_runs_lie(tmp_path: Path) -> None:
    def names(content: Any, root: Path) -> dict[str, str]:
        suite = find_suite(written(tmp_path, content))
        return {run.row: run.folder.parent.name for run in suite.runs(root)}

    before = names(TAUGHT, Path("runs"))
    assert names(TAUGHT, tmp_path / "elsewhere") == before
    other = names(TAUGHT | {"teachers": {"large": "--data Digits --model CNN"}}, Path("runs"))
    assert {row for row, name in before.items() if other[row] != name} == {"taught", "taught too"}


@pytest.mark.parametrize(
    ("teachers", "message"),
    [
        ({}, "teachers must be a set of names with values"),
        ({"large": ["--model", "CNN"]}, "teachers, large must be options of fit in one line"),
        ({"large": "--model CNN --seeds 3"}, "teachers, large: --seeds is not for suites"),
        ({"a b": "--model CNN", "a-b": "--model CNN"}, "are one run under two names"),
    ],
)
def test_teachers_that_are_none(teachers: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        find_suite(written(tmp_path, TAUGHT | {"teachers": teachers}))
