"""``compare --suite``: trains what is not done, survives what goes wrong, and compares.

References: the same fits typed one by one, and what lies on disk before and after.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import fcntl
import io
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from mcubench.cli.fitting import lightning as cli_lightning
from mcubench.cli.main import main
from mcubench.datamodules import Arrays, TensorDataModule
from mcubench.errors import MissingDataError
from mcubench.models import MLP
from mcubench.results.checkpoint_io import AtomicCheckpointIO
from mcubench.stopping import Terminated
from tests import forked
from tests.cli.test_main import failure

TREE = "--model DecisionTree --model.max_depth 3"
SMALL = {
    "seeds": [0, 1],
    "tables": {
        "Digits": {
            "options": "--data Digits --data.size 8 --trainer.max_epochs 2",
            "rows": {"a tree": TREE, "MLP [12]": "--model MLP --model.hidden [12]"},
        },
    },
}
WORDS = ("--data", "Digits", "--data.size", "8", "--trainer.max_epochs", "2")


class Breaks(MLP):
    """A model with a mistake in it."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return 1 // 0


class Nowhere(TensorDataModule):
    """Data that are not there."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.input_shape, self.num_classes, self.class_names = (1, size, size), 2, ("a", "b")

    def load(self) -> tuple[Arrays, Arrays]:
        raise MissingDataError("nowhere to be found")


@pytest.fixture
def suite(workplace: Path) -> Path:
    """The suite's folder; its file lies in the working folder."""
    write(SMALL)
    return Path("runs") / "small"


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A working folder in which the suite was run, and what that printed."""
    folder = tmp_path_factory.mktemp("once")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as out:
        patch.chdir(folder)
        write(SMALL)
        assert main(["compare", "--suite", "small.yaml"]) == 0
    return folder, out.getvalue()


@pytest.fixture
def done(once: tuple[Path, str], workplace: Path) -> Path:
    """The suite's folder, all its runs done."""
    shutil.copytree(once[0], workplace, dirs_exist_ok=True)
    return Path("runs") / "small"


def write(content: Any) -> None:
    Path("small.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def results(suite: Path) -> dict[str, Path]:
    """The results by row and seed."""
    found = suite.glob("*/*/*/result.json")
    return {f"{path.parts[-3].rpartition('-')[0]} {path.parts[-2]}": path for path in found}


def changed_at(suite: Path) -> dict[str, int]:
    return {name: path.stat().st_mtime_ns for name, path in results(suite).items()}


def accuracies(suite: Path) -> dict[str, float]:
    return {name: json.loads(path.read_text())["accuracy"]["test"] for name, path in results(suite).items()}


ROWS = {f"{row} seed-{seed}" for row in ("a-tree", "mlp-12") for seed in (0, 1)}


def test_it_is_the_fits_one_by_one(done: Path, once: tuple[Path, str]) -> None:
    suite, printed = done, once[1]
    assert results(suite).keys() == ROWS
    for name, model in (("a-tree", TREE.split()), ("mlp-12", ["--model", "MLP", "--model.hidden", "[12]"])):
        for seed in ("0", "1"):
            args = [*WORDS, *model, "--seed_everything", seed, "--trainer.enable_progress_bar", "false"]
            cli_lightning.run_verb("fit", args, Path("alone") / name / seed)
            alone = json.loads((Path("alone") / name / seed / "result.json").read_text())
            ours = json.loads(results(suite)[f"{name} seed-{seed}"].read_text())
            for key in ("accuracy", "macro_f1", "flash_bytes", "seed", "logged"):
                assert ours[key] == alone[key]
    # one line a run, and one table of all; what the fits print is in their logs
    assert [line.partition("]")[0] for line in printed.splitlines() if line.startswith("[")] == [
        *("[1/4", "[2/4", "[3/4", "[4/4")
    ]
    assert "Try next" not in printed
    logs = list(suite.glob("*/*/*/log.txt"))
    assert len(logs) == 4
    assert all("Try next" in log.read_text() for log in logs)
    assert {path.name for path in suite.iterdir() if path.is_file()} - {".lock"} == {
        f"small.{form}" for form in ("csv", "md", "png", "svg")
    }
    with (suite / "small.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["data"], row["model"], row["seeds"]) for row in rows} == {
        ("Digits", "a tree", "2"),
        ("Digits", "MLP [12]", "2"),
    }
    by_row = {row["model"]: float(row["float_test_accuracy"]) for row in rows}
    scores = accuracies(suite)
    assert by_row["MLP [12]"] == pytest.approx((scores["mlp-12 seed-0"] + scores["mlp-12 seed-1"]) / 2)


def test_what_is_done_is_not_done_again(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite, before = done, changed_at(done)
    (suite / "small.md").unlink()
    assert main(["compare", "--suite", "small.yaml"]) == 0
    assert changed_at(suite) == before
    assert "4 of 4 runs are done already" in capsys.readouterr().out
    assert (suite / "small.md").is_file()
    # a seed more, and a row whose options are others
    more = yaml.safe_load(Path("small.yaml").read_text())
    more["seeds"].append(2)
    more["tables"]["Digits"]["rows"]["a tree"] = "--model DecisionTree --model.max_depth 4"
    write(more)
    assert main(["compare", "--suite", "small.yaml"]) == 0
    after = changed_at(suite)
    assert after["mlp-12 seed-0"] == before["mlp-12 seed-0"]
    assert after["a-tree seed-0"] > before["a-tree seed-0"]
    assert len(list(suite.glob("*/*/*/result.json"))) == 8, "nothing was overwritten"
    assert "≤" in (suite / "small.md").read_text() or "a tree | 3 |" in (suite / "small.md").read_text()


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_a_signal_keeps_what_is_done_and_ends_the_suite(
    suite: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stop: type[BaseException],
    code: int,
) -> None:
    plain, calls = cli_lightning.run_verb, []

    def interrupted(verb: str, args: Any, folder: Path) -> None:
        calls.append(folder)
        if len(calls) == 2:  # in the middle: something is written already
            (folder / "checkpoints").mkdir()
            (folder / "config.yaml").write_text("half")
            raise stop
        plain(verb, args, folder)

    monkeypatch.setattr(cli_lightning, "run_verb", interrupted)
    assert main(["compare", "--suite", "small.yaml"]) == code
    assert "1 of 4 runs are done; the same command goes on" in capsys.readouterr().out
    assert results(suite).keys() == {"a-tree seed-0"}
    assert main(["compare", "--suite", "small.yaml"]) == 0
    assert len(calls) == 5, "one twice"
    assert results(suite).keys() == ROWS
    broken_once = results(suite)["mlp-12 seed-0"].parent
    assert "half" not in (broken_once / "config.yaml").read_text()


def test_a_full_disk_ends_the_suite(
    suite: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next runs would fail alike; too little memory is of one run."""
    saved: list[object] = []

    def full(self: object, *args: object, **options: object) -> None:
        saved.append(self)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", full)
    assert "No space left on device; free some space" in failure(capsys, "compare", "--suite", "small.yaml")
    assert len(saved) == 1
    assert not results(suite)


def test_a_run_that_fails_costs_no_other(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = yaml.safe_load(Path("small.yaml").read_text())
    wrong["tables"]["Digits"]["rows"] = {
        "misspelt": "--model DecisionTree --model.max_dept 3",
        "breaks": "--model tests.cli.test_suite.Breaks",
        "a tree": TREE,
    }
    write(wrong)
    line = failure(capsys, "compare", "--suite", "small.yaml")
    assert "4 of 6 runs failed, as said above; the same command tries them again" in line
    assert results(suite).keys() == {"a-tree seed-0", "a-tree seed-1"}
    assert (suite / "small.csv").is_file()


def test_what_failed_is_said(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = yaml.safe_load(Path("small.yaml").read_text())
    wrong["seeds"] = [0]
    wrong["tables"]["Digits"]["rows"] = {
        "misspelt": "--model DecisionTree --model.max_dept 3",
        "breaks": "--model tests.cli.test_suite.Breaks",
    }
    write(wrong)
    assert main(["compare", "--suite", "small.yaml"]) == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "misspelt, seed 0: failed: DecisionTree has no option 'max_dept'. Did you mean 'max_depth'?" in printed
    assert (
        "breaks, seed 0: failed: ZeroDivisionError: integer division or modulo by zero; runs/small/digits/breaks-"
        in printed
    )
    (log,) = suite.glob("digits/breaks-*/seed-0/log.txt")
    assert "Traceback" in log.read_text()


def test_a_run_without_a_result_costs_no_other(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = yaml.safe_load(Path("small.yaml").read_text())
    wrong["seeds"] = [0]
    wrong["tables"]["Digits"]["rows"] = {
        "rehearsed": "--model MLP --trainer.fast_dev_run true",
        "leaves": "--model.help MLP",
        "a tree": TREE,
    }
    write(wrong)
    assert main(["compare", "--suite", "small.yaml"]) == 2
    printed = " ".join(capsys.readouterr().out.split())
    assert "rehearsed, seed 0: failed: it left no result.json" in printed
    assert "leaves, seed 0: failed: SystemExit" in printed
    assert results(suite).keys() == {"a-tree seed-0"}


def test_a_configuration_that_resumes_is_refused(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli_lightning.run_verb("fit", [*WORDS, *TREE.split(), "--trainer.enable_progress_bar", "false"], Path("other/run"))
    before = {path: path.read_bytes() for path in Path("other/run").glob("*.*")}
    Path("resume.yaml").write_text("ckpt_path: other/run\n")
    wrong = yaml.safe_load(Path("small.yaml").read_text())
    wrong["tables"]["Digits"]["rows"] = {"resumed": "--config resume.yaml"}
    write(wrong)
    assert main(["compare", "--suite", "small.yaml"]) == 2
    assert "one of several fits starts anew: leave ckpt_path out" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in Path("other/run").glob("*.*")} == before


def test_a_damaged_result_ends_it_before_anything_is_trained(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is done is compared when all is trained, which may take a night."""
    damaged, waiting = sorted(done.glob("*/*/seed-*"))[:2]
    (damaged / "result.json").write_text("{}")
    (waiting / "result.json").unlink()
    assert "result.json is damaged: it has no schema_version 1" in failure(capsys, "compare", "--suite", "small.yaml")
    assert not (waiting / "result.json").exists()


def test_a_second_process_keeps_out(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = changed_at(done)
    with (done / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        line = failure(capsys, "compare", "--suite", "small.yaml")
    assert "another process runs the suite in runs/small: wait for it, or give another --root" in line
    assert changed_at(done) == before
    assert main(["compare", "--suite", "small.yaml"]) == 0


def test_missing_data_end_it_at_once(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = yaml.safe_load(Path("small.yaml").read_text())
    wrong["tables"]["Digits"]["options"] = "--data tests.cli.test_suite.Nowhere"
    write(wrong)
    assert "nowhere to be found" in failure(capsys, "compare", "--suite", "small.yaml")
    assert len(list(suite.glob("*/*/*"))) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--suite smal", "there is no suite 'smal'"),
        ("--suite none.yaml", "--suite none.yaml: there is no such file"),
        ("--suite small.yaml runs", "--suite compares its own runs and writes all files beside them: leave RUN out"),
        ("--suite small.yaml --csv a.csv", "leave --csv out"),
        ("--root elsewhere", "--root is where a suite's folder lies: give --suite with it"),
        ("--suite small.yaml --root small.yaml", "runs can't be written to small.yaml/small"),
    ],
)
def test_wrong_options_are_one_line(args: str, message: str, suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in failure(capsys, "compare", *args.split())


@pytest.mark.usefixtures("done")
def test_a_done_suite_needs_no_torch() -> None:
    code = (
        "import sys; from mcubench.cli.main import main; main(['compare', '--suite', 'small.yaml']);"
        "print('loaded', {'torch', 'lightning', 'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"
    )
    report = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "loaded set()" in report.stdout


@pytest.mark.slow
def test_a_killed_suite_goes_on(suite: Path) -> None:
    long = yaml.safe_load(Path("small.yaml").read_text())
    long["tables"]["Digits"]["rows"]["MLP [12]"] += " --trainer.max_epochs 2000"
    write(long)
    command = ["-m", "mcubench", "compare", "--suite", "small.yaml"]
    process = forked.start(command)
    try:
        deadline = time.monotonic() + 120
        while not list(suite.glob("digits/mlp-*/seed-0/checkpoints/last.ckpt")) and time.monotonic() < deadline:
            time.sleep(0.1)
    finally:
        process.kill()
        process.wait()
    assert results(suite).keys() == {"a-tree seed-0"}
    before = changed_at(suite)
    write(SMALL | {"seeds": [0]})
    report = forked.run(command, timeout=240, check=True)
    assert "1 of 2 runs are done already" in report.stdout
    assert changed_at(suite)["a-tree seed-0"] == before["a-tree seed-0"]


def test_teachers_are_trained_before_all_others(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"taught": "--model MLP --model.hidden [4] --distill large", "alone": "--model MLP --model.hidden [4]"}
    options = "--data Digits --data.size 8 --trainer.max_epochs 1"
    large = f"{options} --model MLP --model.hidden [32]"
    write({"seeds": [0, 1], "teachers": {"large": large}, "tables": {"Digits": {"options": options, "rows": rows}}})
    assert main(["compare", "--suite", "small.yaml"]) == 0
    printed = capsys.readouterr().out
    assert printed.index("teachers, large, seed 0") < printed.index("Digits, taught, seed 0")
    notes = {path: json.loads(path.read_text())["notes"] for path in Path("runs/small").rglob("result.json")}
    learned = {path.parts[3].partition("-")[0] for path, said in notes.items() if "--distill" in " ".join(said)}
    assert (len(notes), learned) == (5, {"taught"})
    table = list(csv.DictReader(Path("runs/small/small.csv").read_text().splitlines()))
    assert len(table) == 2, "none of the teacher"


def test_without_a_teacher_nobody_is_taught(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = {"options": "--data Digits", "rows": {"taught": "--model MLP --distill large"}}
    write({"seeds": [0], "teachers": {"large": "--data Digits --model CNN --model.channels 0"}, "tables": {"D": table}})
    assert "a teacher's run failed" in failure(capsys, "compare", "--suite", "small.yaml")
    assert not list(Path("runs/small").glob("d/*"))
