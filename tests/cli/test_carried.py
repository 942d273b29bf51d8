"""A configuration of one class with another class: the defaults of the other class are the reference."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcubench import datamodules
from mcubench.baselines import LogisticRegression
from mcubench.cli.main import main

CONFIG = {
    "model": {"class_path": "mcubench.baselines.LinearSVM", "init_args": {"c": 3.0, "max_iter": 1000}},
    "data": {"class_path": "mcubench.datamodules.Digits", "init_args": {"size": 8, "batch_size": 7}},
}


def configured(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[dict[str, Any], str]:
    Path("run.yaml").write_text(yaml.safe_dump(CONFIG))
    with pytest.raises(SystemExit):
        main(["fit", *words, "--print_config"])
    said = capsys.readouterr()
    return yaml.safe_load(said.out), said.err


@pytest.mark.parametrize("given", [["--config", "run.yaml"], ["--config=run.yaml"], ["-c", "run.yaml"]])
def test_options_of_another_model_are_named_and_left_out(
    workplace: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    config, said = configured(capsys, *given, "--model", "LogisticRegression")
    default = inspect.signature(LogisticRegression).parameters["max_iter"].default
    assert config["model"]["init_args"]["max_iter"] == default != 1000
    assert config["data"]["init_args"]["batch_size"] == 7
    assert "run.yaml is of LinearSVM, whose options do not carry over to LogisticRegression: c, max_iter" in said


def test_the_same_class_keeps_them_without_a_word(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, said = configured(capsys, "--config", "run.yaml", "--model", "LinearSVM", "--data=Digits")
    assert config["model"]["init_args"]["max_iter"] == 1000
    assert config["data"]["init_args"]["size"] == 8
    assert said == ""


def test_options_of_other_data_are_left_out_too(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, said = configured(capsys, "--config", "run.yaml", "--model", "MLP", "--data", "HAPT")
    default = inspect.signature(datamodules.HAPT).parameters["batch_size"].default
    assert config["data"]["init_args"]["batch_size"] == default
    assert config["model"]["class_path"] == "mcubench.models.MLP"
    assert "whose options do not carry over to MLP" in said
    assert "whose options do not carry over to HAPT: batch_size, size" in said


def test_a_plain_module_is_told_from_another(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = {
        "class_path": "mcubench.models.own.Network",
        "init_args": {"net": "tests.cli.test_own_models.made", "arguments": {"width": 9}},
    }
    Path("own.yaml").write_text(yaml.safe_dump({"model": own}))
    for name, arguments in (("made", {"width": 9}), ("Net", None)):
        with pytest.raises(SystemExit):
            main(["fit", "--config", "own.yaml", "--model", f"tests.cli.test_own_models.{name}", "--print_config"])
        config = yaml.safe_load(capsys.readouterr().out)
        assert config["model"]["init_args"]["arguments"] == arguments
