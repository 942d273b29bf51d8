"""What a run that goes on is asked for besides: taken over with effect, or refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mcubench.cli.options.going_on import check_options, take_up_parts
from mcubench.errors import UserError
from mcubench.results.best_checkpoint import BestCheckpoint
from mcubench.results.lock import alone_in
from tests.cli.test_fit import fit, result
from tests.cli.test_main import failure

SMALL = ["--data.size=8", "--model.hidden=[8]", "--model.schedule=constant"]
QAT = "mcubench.callbacks.QuantizationAwareTraining"
STOPPING = "lightning.pytorch.callbacks.EarlyStopping"
RUN: dict[str, Any] = {
    "seed_everything": 0,
    "trainer": {
        "max_epochs": 3,
        "limit_val_batches": None,
        "gradient_clip_val": None,
        "callbacks": [
            {"class_path": STOPPING, "init_args": {"monitor": "val/loss", "patience": 3}},
            {"class_path": QAT, "init_args": {"weight_bits": 8}},
        ],
    },
    "model": {
        "class_path": "mcubench.models.MLP",
        "init_args": {"learning_rate": 0.005, "weight_decay": 0.0, "optimizer": "adam", "steps_per_execution": None},
    },
    "data": {"class_path": "mcubench.datamodules.Digits", "init_args": {"batch_size": 100, "root": None}},
    "checkpoint": {"monitor": None, "mode": None, "every_n_train_steps": None},
    "distill": {"run": "a.ckpt", "weight": 0.5, "temperature": 4.0},
    "threads": 1,
}


def changed(path: str, value: Any) -> dict[str, Any]:
    config = copy.deepcopy(RUN)
    *parents, last = path.split("/")
    place: Any = config
    for name in parents:
        place = place[int(name) if name.isdecimal() else name]
    place[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("seed_everything", 1, "--seed_everything is 0 there and 1 here"),
        ("model/class_path", "mcubench.models.CNN", "--model is mcubench.models.MLP there"),
        ("model/init_args/optimizer", "sgd", "--model.optimizer is adam there and sgd here"),
        ("model/dict_kwargs", {"depth": 3}, "--model.depth is not set there and 3 here"),
        ("data", None, "--data is mcubench.datamodules.Digits there and not set here"),
        ("data/class_path", "mcubench.datamodules.MNIST", "and mcubench.datamodules.MNIST here"),
        ("data/init_args/batch_size", 50, "--data.batch_size is 100 there and 50 here"),
        ("checkpoint/monitor", "val/loss", "--checkpoint.monitor is not set there and val/loss here"),
        ("checkpoint/mode", "min", "--checkpoint.mode"),
        ("distill/run", None, "--distill is a.ckpt there and not set here"),
        ("distill/weight", 0.7, "--distill.weight is 0.5 there and 0.7 here"),
        ("trainer/limit_val_batches", 3, "--trainer.limit_val_batches"),
        ("trainer/overfit_batches", 1, "--trainer.overfit_batches"),
        ("trainer/enable_checkpointing", False, "--trainer.enable_checkpointing is not set there and false here"),
        ("trainer/callbacks/0/init_args", {"patience": 5}, "--trainer.callbacks EarlyStopping is"),
        ("trainer/callbacks", RUN["trainer"]["callbacks"][:1], "with QuantizationAwareTraining there and without here"),
    ],
)
def test_what_would_have_no_effect_or_leave_the_best_untrue_is_refused(path: str, value: Any, named: str) -> None:
    with pytest.raises(UserError) as caught:
        check_options(RUN, changed(path, value), "runs/x")
    assert named in str(caught.value)
    assert "runs/x" in str(caught.value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trainer/max_epochs", 9),
        ("trainer/limit_val_batches", 0),
        ("trainer/gradient_clip_val", 1.0),
        ("trainer/callbacks/1/init_args", {"weight_bits": 4}),
        ("trainer/callbacks", [*RUN["trainer"]["callbacks"], {"class_path": "my.Callback"}]),
        ("model/init_args/learning_rate", 0.1),
        ("model/init_args/weight_decay", 0.1),
        ("model/init_args/steps_per_execution", 1),
        ("model/init_args/of_a_later_version", 1),
        ("data/init_args/root", "elsewhere"),
        ("checkpoint/every_n_train_steps", 7),
        ("threads", 2),
    ],
)
def test_what_has_an_effect_is_taken_over(path: str, value: Any) -> None:
    check_options(RUN, changed(path, value), "runs/x")


def test_rates_of_other_peoples_modules_are_refused() -> None:
    """Their optimiser is restored as it was, and nobody knows which option it had its rate from."""
    foreign = changed("model/class_path", "tests.foreign.MyNet")
    other = copy.deepcopy(foreign)
    other["model"]["init_args"]["learning_rate"] = 0.1
    with pytest.raises(UserError, match=r"--model\.learning_rate is 0\.005 there and 0\.1 here"):
        check_options(foreign, other, "runs/x")


@pytest.mark.parametrize(
    ("word", "left", "meant"),
    [
        ("QuantizationAwareTraining", [STOPPING], {"class_path": QAT, "init_args": {"weight_bits": 8}}),
        (QAT, [STOPPING], {"class_path": QAT, "init_args": {"weight_bits": 8}}),
        ("mcubench.callbacks.quantization.QuantizationAwareTraining", [STOPPING], None),
        (json.dumps({"class_path": QAT, "init_args": {"observer": "mse"}}), [STOPPING], None),
        ("my_file.QuantizationAwareTraining", [STOPPING, QAT], "my_file.QuantizationAwareTraining"),
        ("EpochTimer", [STOPPING, QAT], "EpochTimer"),
    ],
)
def test_a_callback_that_is_asked_for_again_is_that_of_the_run(word: str, left: list[str], meant: Any) -> None:
    options = copy.deepcopy(RUN)
    (arg,) = take_up_parts(options, [f"--trainer.callbacks+={word}"])
    assert [each["class_path"] for each in options["trainer"]["callbacks"]] == left
    value = arg.removeprefix("--trainer.callbacks+=")
    if meant is not None:
        assert (value if isinstance(meant, str) else json.loads(value)) == meant


def test_the_same_command_goes_on(workplace: Path) -> None:
    words = [*SMALL, "--trainer.max_epochs=2", "--trainer.callbacks+=QuantizationAwareTraining"]
    first = result(fit(*words, "--trainer.callbacks.weight_bits=4"))
    folder = fit(*words, "--ckpt_path=last")
    again = result(folder)
    assert again["bits"] == {"weight": 4, "activation": 8}
    for key in ("accuracy", "epochs", "steps", "logged", "notes", "checkpoint"):
        assert again[key] == first[key]
    assert again["seconds"]["epoch"] == first["seconds"]["epoch"]
    assert again["seconds"]["fit"] == pytest.approx(first["seconds"]["fit"], rel=0.2)


def test_a_learning_rate_is_taken_over_and_told(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = fit(*SMALL, "--trainer.max_epochs=1")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    rates = ["--model.learning_rate=0.125", "--model.weight_decay=0.25"]
    said = failure(capsys, "fit", "--ckpt_path=last", *rates, "--trainer.enable_progress_bar=false")
    assert "nothing is left to train, so that --model.learning_rate, --model.weight_decay would change nothing" in said
    said = failure(capsys, "fit", "--ckpt_path=last", "--data.split_seed=3", "--trainer.max_epochs=2")
    assert "--data.split_seed is 0 there and 3 here" in said
    with alone_in(folder):
        assert "another process is at work in" in failure(capsys, "fit", "--ckpt_path=last", "--trainer.max_epochs=2")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    fit("--ckpt_path=last", *rates, "--trainer.max_epochs=2")
    (group,) = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["optimizer_states"][0][
        "param_groups"
    ]
    assert group["lr"] == 0.125
    assert group["weight_decay"] == 0.25
    told = ["went on after 36 steps with --model.learning_rate 0.125, before 0.005"]
    told += ["went on after 36 steps with --model.weight_decay 0.25, before 0"]
    assert sorted(result(folder)["notes"]) == told
    fit("--ckpt_path=last", "--trainer.max_epochs=3")
    assert sorted(result(folder)["notes"]) == told, "it stays known"


def test_a_best_epoch_that_the_run_does_not_know_is_forgotten(tmp_path: Path) -> None:
    """Of a process that was killed after it saved the best epoch, and before it saved the last."""
    best = BestCheckpoint(tmp_path, "val/accuracy")
    state = {**best.state_dict(), "best_model_path": "best.ckpt", "best_model_score": torch.tensor(0.5)}
    for saved, known in ((0.5, True), (0.75, False)):
        other = {**state, "best_model_score": torch.tensor(saved)}
        torch.save({"state_dict": {}, "callbacks": {best.state_key: other}}, tmp_path / "best.ckpt")
        again = BestCheckpoint(tmp_path, "val/accuracy")
        again.load_state_dict(state)
        assert (again.best_model_path != "") == known
