"""Configurations that are not what they should be, and runs whose config.yaml is not: one line, and nothing is done.

References: the lines written out by hand; each names the file and the field.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcubench.cli.main import main
from tests.trained import digits_run

__all__ = ["digits_run"]

VERBS = ("fit", "validate", "test", "predict", "profile", "parity", "quantize", "export", "emulate")


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a command that is refused says; it has written nothing."""
    before = set(Path().rglob("*"))
    assert main(list(words)) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("mcubench: error: ")
    assert set(Path().rglob("*")) == before
    return line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml is empty"),
        ("# nothing", "a.yaml is empty"),
        ("- 1", "a.yaml is not a YAML file of options, as in seed_everything: 1; got [1]"),
        ("just text", "got 'just text'"),
        ("trainer:\n  max_epochs: 1\n  max_epochs: 2", "'max_epochs' is given twice, in lines 2 and 3"),
        ("5: 3", "a.yaml: names of options are text; got 5"),
        ("trainer: {true: 3}", "a.yaml: trainer: names of options are text; got True"),
        ("trainer: 5", "a.yaml: trainer must be a set of options, as in trainer:; got 5"),
        ("trainer:", "a.yaml: trainer must be a set of options, as in trainer:; got None"),
        ("budget: [1]", "a.yaml: budget must be a set of options"),
        ("checkpoint: x", "a.yaml: checkpoint must be a set of options"),
        ("ckpt_path: 5", "a.yaml: ckpt_path must be a name or null; got 5"),
        ("trainer: {default_root_dir: [x]}", "a.yaml: trainer.default_root_dir must be a name or null; got ['x']"),
        ("model: 5", "a.yaml: model must have class_path and init_args; got 5"),
        ("model: null", "a.yaml: model must have class_path and init_args; got None"),
        ("model: {channels: 4}", "a.yaml: model.class_path must name a class; got None"),
        ("data: {class_path: [x]}", "a.yaml: data.class_path must name a class; got ['x']"),
        ("data: {class_path: Digits, init_args: 5}", "a.yaml: data.init_args must be a set of options; got 5"),
        ("[" * 10_000, "nested more than 48 deep"),
        ("model: a.yaml", "--model a.yaml.class_path must name a class; got None"),
        (
            "model: {class_path: mcubench.models.CNN, init_args: {channels: x}}",
            "a.yaml: --model.channels: expected int",
        ),
        ("trainer: {max_epochs: [1]}", "a.yaml: --trainer.max_epochs: expected int or null, got '[1]'"),
    ],
)
def test_mistakes_in_a_configuration(
    workplace: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    Path("a.yaml").write_text(text)
    assert message in failure(capsys, "fit", "--config", "a.yaml")


@pytest.mark.parametrize("verb", ["profile", "parity", "fit --folds 3", "fit --seeds 2"])
def test_every_verb_reads_them_alike(workplace: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    Path("a.yaml").write_bytes("seed_everything: 1 # für".encode("latin-1"))
    assert "--config a.yaml is not UTF-8 text: byte 22 is 0xfc" in failure(capsys, *verb.split(), "--config", "a.yaml")
    Path("a.yaml").write_text("trainer: 5")
    assert "--config a.yaml: trainer must be a set" in failure(capsys, *verb.split(), "--config", "a.yaml")


def test_what_is_typed_is_not_said_to_be_of_a_file(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("trainer: {max_epochs: 1}")
    line = failure(capsys, "fit", "--config", "a.yaml", "--trainer.max_epochs", "x")
    assert line == "mcubench: error: --trainer.max_epochs: expected int or null, got 'x'\n"


def test_a_file_that_the_parser_reads_itself_has_bounds(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("[" * 10_000)
    failure(capsys, "fit", "--trainer.callbacks", "a.yaml")


@pytest.fixture
def run(digits_run: Path, workplace: Path) -> Path:
    """A run that may be altered, in the folder of all runs."""
    return shutil.copytree(digits_run, Path("runs", "mine"))


def altered(run: Path, **sections: Any) -> None:
    path = run / "config.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **sections}))


@pytest.mark.parametrize("verb", VERBS)
def test_a_run_without_its_options(run: Path, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    path = run / "config.yaml"
    text = path.read_text()
    for content, message in {
        "": "runs/mine/config.yaml is empty",
        text[:300]: "runs/mine/config.yaml is not YAML that can be used: line 17",
        text.replace("model:", "modell:"): "runs/mine/config.yaml is no run's any more: it has no model",
        text.replace("seed_everything", "# seed"): "it has no seed_everything",
        text[: text.index("ckpt_path")]: "it has no ckpt_path",
    }.items():
        path.write_text(content)
        assert message in failure(capsys, verb, "--ckpt_path", "runs/mine")


def test_a_run_cut_off_anywhere_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "config.yaml"
    text = path.read_text()
    for length in range(0, text.index("ckpt_path"), 61):
        path.write_text(text[:length])
        assert "runs/mine/config.yaml" in failure(capsys, "test", "--ckpt_path", "runs/mine")


@pytest.mark.parametrize(
    ("section", "content", "message"),
    [
        ("trainer", {"callbacks": [5]}, "config.yaml: trainer.callbacks must be a list of classes"),
        ("trainer", {"callbacks": 5}, "config.yaml: trainer.callbacks must be a list of classes"),
        ("model", {"class_path": "nowhere.X"}, "there is no module 'nowhere'"),
        ("seed_everything", "x", "runs/mine/config.yaml: --seed_everything: expected"),
    ],
)
def test_a_run_with_options_of_other_types(
    run: Path, capsys: pytest.CaptureFixture[str], section: str, content: Any, message: str
) -> None:
    altered(run, **{section: content})
    assert message in failure(capsys, "test", "--ckpt_path", "runs/mine")
