"""What may be varied: in code and in files.

References: what Optuna was asked, and each mistake with the words that name it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial

from mcubench.errors import UserError
from mcubench.search import Choice, Number, Whole
from mcubench.search.plan import Plan
from mcubench.search.space_file import read_space


def test_dimensions_are_what_optuna_is_asked_for() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    trial = study.ask()
    values = {
        "whole": Whole(4, 64, log=True).suggest(trial, "whole"),
        "number": Number(1e-3, 1e-1, log=True).suggest(trial, "number"),
        "list": Choice(([], [8], [8, 4])).suggest(trial, "list"),
        "none": Choice((None, 1, "relu", 0.5)).suggest(trial, "none"),
    }
    asked = trial.distributions
    assert asked["whole"] == optuna.distributions.IntDistribution(4, 64, log=True)
    assert asked["number"] == optuna.distributions.FloatDistribution(1e-3, 1e-1, log=True)
    assert values["number"] == float(f"{trial.params['number']:.4g}"), "digits that are read without an effort"
    assert asked["list"] == optuna.distributions.CategoricalDistribution(["[]", "[8]", "[8, 4]"])
    assert values["list"] in ([], [8], [8, 4])
    assert values["none"] in (None, 1, "relu", 0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Whole(8, 4), "its low end is above its high one: 8 and 4"),
        (lambda: Whole(0, 4, log=True), "with log its low end must be above 0"),
        (lambda: Whole(1, 2.5), "its ends must be whole numbers"),  # type: ignore[arg-type]
        (lambda: Whole(True, 4), "its ends must be whole numbers"),
        (lambda: Number(0.0, float("inf")), "its ends must be finite numbers"),
        (lambda: Choice(()), "it has no values"),
        (lambda: Choice((1, 2, 1)), "it has a value twice: 1, 2, 1"),
        (lambda: Choice((object(),)), "its values must be plain ones or lists of them"),
        (lambda: Choice((float("nan"),)), "its values must be plain ones or lists of them"),
    ],
)
def test_mistakes_in_dimensions(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "model.channels: {int: [4, 64], log: true}\n"
        "model.dropout: {float: [0.0, 0.5]}\n"
        "model.activation: {choice: [relu, null, [1, 2]]}\n"
        "trainer.max_epochs: {choice: [3]}\n"
        "weight_bits: {choice: [8, 4]}\n"
    )
    assert read_space(path) == {
        "model.channels": Whole(4, 64, log=True),
        "model.dropout": Number(0.0, 0.5),
        "model.activation": Choice(("relu", None, [1, 2])),
        "trainer.max_epochs": Choice((3,)),
        "weight_bits": Choice((8, 4)),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it must have a line an option"),
        ("- model.channels", "it must have a line an option"),
        ("channels: {int: [1, 2]}", "channels: options begin with model., data., trainer., or it is weight_bits"),
        ("model.channels: 4", "model.channels must be {int"),
        ("model.channels: {int: [1, 2, 3]}", "model.channels must be {int"),
        ("model.channels: {int: 4}", "model.channels must be {int"),
        ("model.channels: {whole: [1, 2]}", "model.channels must be {int"),
        ("model.channels: {int: [1, 2], float: [1, 2]}", "model.channels must be {int"),
        ("model.channels: {int: [1, 2], log: 1}", "model.channels must be {int"),
        ("model.channels: {choice: [1, 2], log: true}", "log is for int and float"),
        ("model.channels: {int: [1.5, 2]}", "model.channels: its ends must be whole numbers; got 1.5 and 2"),
        ("model.channels: {int: [2, 1]}", "model.channels: its low end is above its high one"),
        ("model.channels: {choice: []}", "model.channels: it has no values"),
        ("model.channels: [", "is not YAML"),
    ],
)
def test_mistakes_in_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_space(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


PLAN = Plan(
    {
        "DSCNN": {"model.channels": Whole(4, 8), "weight_bits": Choice((8, 4)), "data.size": Choice((8, 16))},
        "my.Tree": {"model.max_depth": Whole(1, 3)},
    },
    ("--data", "Digits"),
)


def test_a_trial_becomes_the_words_of_fit() -> None:
    """By hand: a network is trained with rounding, a classical model is not."""
    net = PLAN.suggest(FixedTrial({"model": '"DSCNN"', "DSCNN.channels": 5, "weight_bits": "4", "data.size": "16"}))
    assert net.words(PLAN.words) == [
        *("--model", "DSCNN", "--data", "Digits", "--model.channels=5", "--data.size=16"),
        *("--trainer.callbacks+=QuantizationAwareTraining", "--trainer.callbacks.weight_bits=4"),
    ]
    assert str(net) == "DSCNN channels 5, size 16, 4 bits"
    tree = PLAN.chosen({"model": '"my.Tree"', "my.Tree.max_depth": 2})
    assert tree.words(PLAN.words) == ["--model", "my.Tree", "--data", "Digits", "--model.max_depth=2"]


def test_the_smallest_is_found_one_option_after_another() -> None:
    """The sizes are made up: wider is larger, 4 bits are half of 8, and the tree is larger than all."""

    def excess(candidate: Any) -> float:
        if candidate.model == "my.Tree":
            return 1000.0
        return float(candidate.options["model.channels"] * candidate.bits * candidate.options["data.size"])

    found = PLAN.smallest(excess)
    assert (found.options, found.bits) == ({"model.channels": 4, "data.size": 8}, 4)
