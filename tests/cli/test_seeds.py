"""``fit --seeds`` against the same fits run one by one, and scipy for the interval."""

from __future__ import annotations

import contextlib
import csv
import inspect
import io
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from jsonargparse import Namespace
from scipy import stats

from mcubench.callbacks import LastCheckpoint
from mcubench.cli.fitting import several
from mcubench.cli.fitting.stacked_fit import obstacle_in_options
from mcubench.cli.main import main
from mcubench.errors import UserError
from mcubench.results.result import read_result
from mcubench.results.run_folder import resolve_checkpoint
from tests.callbacks.test_resume import PressCtrlC
from tests.cli.test_main import failure
from tests.seeds.test_module import ROUNDING

SMALL = ["--data.size", "8", "--trainer.enable_progress_bar", "false"]
WORDS = ["fit", *SMALL, "--model.hidden", "[8]", "--trainer.max_epochs", "3"]

# What differs between a seed of several and its own run: times, the words that were typed, and rounding.
OWN = ("seconds", "command", "notes", "logged")


def summary(root: str = "runs") -> tuple[Path, dict[str, Any]]:
    """The folder and ``seeds.json`` of the one fit of several seeds under a root."""
    (path,) = Path(root).glob("*/seeds.json")
    return path.parent, json.loads(path.read_text())


def checkpoint(run: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def assert_close(found: Any, expected: Any, place: str = "") -> None:
    """Two checkpoints or parts of them: what is no weight is equal, and weights are, up to rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), place
        for key in expected:
            assert_close(found[key], expected[key], f"{place}/{key}")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), place
        for index, pair in enumerate(zip(found, expected, strict=True)):
            assert_close(*pair, f"{place}[{index}]")
    elif isinstance(expected, torch.Tensor) and expected.is_floating_point():
        assert found.shape == expected.shape, place
        scale = float(expected.abs().max()) or 1.0
        assert float((found - expected).abs().max()) < ROUNDING * scale, place
    elif isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), place
    else:
        assert found == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected), place


def without_times(state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint without seconds, the folder that it lies in, and the CRC-32 of numbers that may be close."""
    callbacks = {name: value for name, value in state["callbacks"].items() if name != "EpochTimer"}
    logged = callbacks["Logged"]
    callbacks["Logged"] = {**logged, "before": {**logged["before"], "crc32": None}}
    for name, value in callbacks.items():
        if name.startswith("BestCheckpoint"):
            callbacks[name] = {key: each for key, each in value.items() if "path" not in key and "k_models" not in key}
    return {**state, "callbacks": callbacks}


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of seeds 5, 6 and 7, trained at once, and what was printed."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(tmp_path_factory.mktemp("seeds"))
        assert main([*WORDS, "--seeds=3", "--seed_everything", "5", "--budget.flash", "32KiB"]) == 0
        return summary()[0].resolve(), out.getvalue()


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of seed 6, by itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("own"))  # in no repository, as three_seeds
        assert main([*WORDS, "--seed_everything=6", "--budget.flash", "32KiB"]) == 0
        (run,) = Path("runs").iterdir()
        return run.resolve()


def test_a_seed_leaves_what_its_own_run_leaves(three_seeds: tuple[Path, str], own_run: Path) -> None:
    run = three_seeds[0] / "seed-6"
    assert {path.name for path in run.iterdir()} == {path.name for path in own_run.iterdir()} | {"log.txt"}
    for name in ("last", "best"):
        found, expected = (without_times(checkpoint(each, name)) for each in (run, own_run))
        assert_close(found, expected)
    found, expected = (read_result(each) for each in (run, own_run))
    assert found.keys() == expected.keys()
    for key in expected.keys() - set(OWN) - {"checkpoint"}:
        assert found[key] == expected[key], key
    assert_close(found["checkpoint"], expected["checkpoint"])
    assert_close(found["logged"], expected["logged"])
    assert found["notes"] == ["trained together with 2 others (--seeds): seconds are those of all"]
    for row, expected_row in zip(metrics(run), metrics(own_run), strict=True):
        assert row.keys() == expected_row.keys()
        found, expected = ({key: float(value) for key, value in each.items() if value} for each in (row, expected_row))
        assert found == pytest.approx(expected, rel=1e-5)
    configs = [yaml.safe_load((each / "config.yaml").read_text()) for each in (run, own_run)]
    assert configs[0] == configs[1]


def test_the_command_of_a_seed_repeats_it(three_seeds: tuple[Path, str]) -> None:
    assert read_result(three_seeds[0] / "seed-7")["command"][-1] == "--seed_everything=7"


def test_the_summary(three_seeds: tuple[Path, str]) -> None:
    folder, out = three_seeds
    assert {path.name for path in folder.iterdir()} == {"seed-5", "seed-6", "seed-7", "seeds.json"}
    _, found = summary(str(folder.parent))
    assert (found["stacked"], found["obstacle"], found["notes"]) == (True, None, [])
    results = [read_result(folder / row["run"]) for row in found["seeds"]]
    assert [row["seed"] for row in found["seeds"]] == [result["seed"] for result in results] == [5, 6, 7]
    assert [row["chosen_epoch"] for row in found["seeds"]] == [result["checkpoint"]["epoch"] for result in results]
    values = [result["accuracy"]["test"] for result in results]
    assert [row["test_accuracy"] for row in found["seeds"]] == values
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert found["mean"]["test_accuracy"]["value"] == pytest.approx(np.mean(values))
    assert found["mean"]["test_accuracy"]["ci95"] == pytest.approx((high - low) / 2)
    assert len({row["val_accuracy"] for row in found["seeds"]}) > 1, "or the test would show little"
    assert "3 seeds at once (stacked)" in out
    assert f"{100 * np.mean(values):.2f} %" in out
    assert f"±{50 * (high - low):.2f}" in out
    assert "Try next" not in out


def test_a_seed_is_an_ordinary_run(
    three_seeds: tuple[Path, str], own_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = three_seeds
    assert resolve_checkpoint("last", folder.parent).parents[1].parent == folder
    assert main(["test", "--ckpt_path", str(folder / "seed-6" / "checkpoints" / "best.ckpt")]) == 0
    accuracy = read_result(own_run)["accuracy"]["test"]
    assert str(accuracy)[:6] in capsys.readouterr().out
    assert main(["compare", str(folder), "--csv", str(folder.parent / "all.csv")]) == 0
    with (folder.parent / "all.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    _, found = summary(str(folder.parent))
    assert float(row["float_test_accuracy"]) == pytest.approx(found["mean"]["test_accuracy"]["value"])
    assert float(row["float_test_accuracy_ci95"]) == pytest.approx(found["mean"]["test_accuracy"]["ci95"])
    assert {each["form"] for each in found["seeds"]} == {"float"}
    assert row["form"] == "8-bit"


def test_one_seed_alone_goes_on_as_its_own_run_does(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped by Ctrl-C in the middle of the second epoch."""
    setup = LastCheckpoint.setup

    def with_ctrl_c(self: LastCheckpoint, trainer: pl.Trainer, *args: Any) -> None:
        setup(self, trainer, *args)
        trainer.callbacks.append(PressCtrlC(50))  # type: ignore[attr-defined]

    with monkeypatch.context() as patch:
        patch.setattr(LastCheckpoint, "setup", with_ctrl_c)
        assert main([*WORDS, "--seeds", "2"]) == 130
    (folder,) = Path("runs").iterdir()
    left = {path.name for path in folder.iterdir()}
    assert left == {"seed-0", "seed-1", "unfinished.json"}, "no summary of a part"
    assert checkpoint(folder / "seed-1")["global_step"] == 51
    assert main(["fit", "--ckpt_path", str(folder / "seed-1")]) == 0
    assert main([*WORDS, "--seed_everything", "1", "--trainer.default_root_dir", "whole"]) == 0
    (whole,) = Path("whole").iterdir()
    assert_close(checkpoint(folder / "seed-1")["state_dict"], checkpoint(whole)["state_dict"])
    found, expected = (read_result(each) for each in (folder / "seed-1", whole))
    for key in ("accuracy", "macro_f1", "epochs", "steps"):
        assert found[key] == expected[key]
    assert_close(found["logged"], expected["logged"])
    assert main([*WORDS, "--seeds", "2"]) == 0
    assert {path.name for path in folder.iterdir()} == {"seed-0", "seed-1", "seeds.json"}, "the same command goes on"
    assert read_result(folder / "seed-1")["accuracy"] == expected["accuracy"]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("--model DecisionTree", "DecisionTree is no Classifier"),
        ("--trainer.accumulate_grad_batches 2", "gradients are accumulated"),
        ("--data tests.seeds.test_obstacles.Reversed", "Reversed has its own on_after_batch_transfer"),
    ],
)
def test_what_can_not_be_stacked_is_trained_one_after_another(
    workplace: Path, capsys: pytest.CaptureFixture[str], words: str, reason: str
) -> None:
    assert main(["fit", *words.split(), *SMALL, "--trainer.max_epochs", "1", "--seeds", "2"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    folder, found = summary()
    assert found["stacked"] is False
    assert found["obstacle"] == reason
    assert f"2 seeds, each by itself: {reason}" in printed
    assert [read_result(folder / row["run"])["seed"] for row in found["seeds"]] == [0, 1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"gradient_clip_val": 1.0}, "gradients are clipped by the norm"),
        ({"gradient_clip_val": 1.0, "gradient_clip_algorithm": "norm"}, "gradients are clipped by the norm"),
        ({"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}, None),
        ({"precision": "bf16-mixed"}, "--trainer.precision is set"),
        ({"precision": "32-true"}, None),
        ({"callbacks": [LastCheckpoint()]}, "callbacks of your own watch one model"),
        ({"logger": True}, "loggers of your own"),
        ({"max_time": "00:00:01:00"}, "each run has --trainer.max_time for itself"),
        ({"overfit_batches": 2}, "--trainer.overfit_batches is set"),
        ({"max_epochs": 3, "limit_val_batches": 0.5}, None),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
def test_options_of_the_trainer(options: dict[str, Any], reason: str | None) -> None:
    given = {name: each.default for name, each in inspect.signature(pl.Trainer).parameters.items()} | options
    found = obstacle_in_options(Namespace(**given))
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize(
    "words",
    [
        "--trainer.gradient_clip_val 0.1 --trainer.gradient_clip_algorithm value --trainer.enable_checkpointing false",
        "--trainer.limit_train_batches 0.5 --trainer.val_check_interval 0.5 --trainer.num_sanity_val_steps 2",
        "--checkpoint.monitor val/loss --data.seed 3 --model.class_weights balanced",
    ],
)
def test_options_that_can_be_stacked(workplace: Path, words: str) -> None:
    assert main([*WORDS, "--seeds", "2", *words.split()]) == 0
    folder, found = summary()
    assert found["stacked"] is True
    assert main([*WORDS, "--seed_everything", "1", "--trainer.default_root_dir", "own", *words.split()]) == 0
    (own,) = Path("own").iterdir()
    row, expected = (read_result(each) for each in (folder / "seed-1", own))
    for key in ("accuracy", "macro_f1", "steps", "epochs"):
        assert row[key] == expected[key]
    assert_close(row["checkpoint"], expected["checkpoint"])
    assert_close(row["logged"], expected["logged"])


def test_one_after_another_each_is_its_own_run(workplace: Path) -> None:
    words = [
        "--model",
        "DSCNN",
        "--model.channels",
        "2",
        "--trainer.max_epochs",
        "1",
        "--trainer.limit_train_batches=5",
    ]
    assert main(["fit", *SMALL, *words, "--seeds", "2"]) == 0
    folder, _ = summary()
    assert main(["fit", *SMALL, *words, "--seed_everything", "1", "--trainer.default_root_dir", "own"]) == 0
    (own,) = Path("own").iterdir()
    states = [checkpoint(each)["state_dict"] for each in (folder / "seed-1", own)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


@pytest.mark.parametrize(
    ("args", "parts"),
    [
        ("fit --seeds 1", ["--seeds must be", "2 to 10,000", "'1'"]),
        ("fit --seeds x", ["--seeds must be", "'x'"]),
        ("fit --seeds 10000000", ["2 to 10,000", "'10000000'"]),
        ("fit --seeds 3 --seed_everything 4294967294", ["beyond 4294967295, the last seed"]),
        (f"fit --seeds 3 --seed_everything {'9' * 5000}", ["beyond 4294967295, the last seed"]),
        ("fit --seeds=-3", ["--seeds must be", "'-3'"]),
        ("fit --seeds", ["--seeds must be", "''"]),
        ("fit --seeds 3 --folds 3", ["--seeds and --folds", "one of the two"]),
        ("fit --seeds 3 --ckpt_path last", ["--seeds trains each seed from the start", "--ckpt_path"]),
        ("fit --seeds 3 --config resume.yaml", ["--seeds trains each seed from the start"]),
        ("fit --seeds 3 --config seeds.yaml", ["no option --seeds"]),
        ("fit --seeds 3 --seed_everything false", ["--seed_everything, which must be a number", "false"]),
        ("test --seeds 3", ["--seeds is an option of fit, not of test"]),
        ("compare --seeds=3", ["--seeds is an option of fit, not of compare"]),
        ("fit --seeds 3 --model CN", ["--model CN", "Did you mean 'CNN'"]),
        ("fit --seeds 3 --trainer.max_epocs 3", ["no option --trainer.max_epocs"]),
        ("fit --seeds 3 --model.learning_rate -1", ["learning_rate must be positive"]),
        ("fit --seeds 3 --data.split subject", ["needs data with subjects"]),
        ("fit --seeds 3 --budget.flash 1KiB", ["MLP is over budget"]),
        ("fit --seeds 3 --trainer.fast_dev_run true", ["leave --trainer.fast_dev_run out"]),
        ("fit --seeds 3 --checkpoint.every_n_train_steps 0", ["every_n_train_steps must be at least 1"]),
        (
            "fit --seeds 3 --trainer.devices 2 --trainer.accelerator cpu --trainer.strategy ddp",
            ["use --trainer.devices 1"],
        ),
    ],
)
def test_one_line_says_what_to_do_and_nothing_is_left(
    workplace: Path, capsys: pytest.CaptureFixture[str], args: str, parts: list[str]
) -> None:
    (workplace / "resume.yaml").write_text("ckpt_path: last\n")
    (workplace / "seeds.yaml").write_text("seeds: 3\n")
    line = failure(capsys, *args.split())
    for part in parts:
        assert part in line
    assert not list(workplace.glob("runs/*"))


class Stopping:
    """Stands in for `run_verb`: raises in the place of seed 1."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.run_verb = error, several.run_verb

    def __call__(self, verb: str, args: list[str], run: Path) -> None:
        if run.name == "seed-1":
            raise self.error
        self.run_verb(verb, args, run)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "Stopped in seed 1 of 3; finished before it, and kept: seed 0"),
        (UserError("it broke"), 2, "seed 1 of 3: it broke"),
    ],
    ids=["Ctrl-C", "error"],
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
    assert main(["fit", "--model", "DecisionTree", *SMALL, "--seeds", "3"]) == code
    printed = capsys.readouterr()
    assert said in printed.out + printed.err
    (folder,) = Path("runs").iterdir()
    left = {path.name for path in folder.iterdir()}
    assert left == {"seed-0", "unfinished.json"}, "no empty folder, and no summary of a part"
    monkeypatch.undo()
    monkeypatch.chdir(workplace)
    assert main(["fit", "--model", "DecisionTree", *SMALL, "--seeds", "3"]) == 0
    assert {path.name for path in folder.iterdir()} == {"seed-0", "seed-1", "seed-2", "seeds.json"}


def test_the_configuration_of_several_seeds_is_that_of_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--seeds", "3", "--seed_everything", "4", "--print_config"])
    assert caught.value.code == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert config["seed_everything"] == 4
    assert "seeds" not in config


def test_the_help_lists_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fit", "--help"])
    assert caught.value.code == 0
    assert "--seeds 8: " in capsys.readouterr().out
