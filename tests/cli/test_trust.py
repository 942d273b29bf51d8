"""Code that comes with a run is not run unless it is trusted.

Reference: a file that such code would write. That the code is what would run is seen where it is trusted.
"""

from __future__ import annotations

import importlib
import itertools
import shutil
import sys
from pathlib import Path

import pytest

from mcubench.cli.main import main
from mcubench.cli.options.trust import guarded, guards
from mcubench.errors import UserError
from tests.trained import digits_run

__all__ = ["digits_run"]

QUIET = ["--trainer.enable_progress_bar", "false"]
CODE = """\
open("ran", "w")
import lightning.pytorch as pl
from sklearn.tree import DecisionTreeClassifier
import mcubench.datamodules, mcubench.models
class Net(mcubench.models.CNN): pass
class Data(mcubench.datamodules.Digits): pass
class Callback(pl.Callback): pass
class Tree(DecisionTreeClassifier): pass
"""
MODEL, DATA = "mcubench.models.CNN", "mcubench.datamodules.Digits"
_names = (f"code{number}" for number in itertools.count())


@pytest.fixture
def module() -> str:
    """The name of a module that was never imported here; nor were the folders that it will lie in."""
    for name in [*sys.modules]:
        if name.partition(".")[0] in ("runs", "archive"):
            del sys.modules[name]
    importlib.invalidate_caches()
    return next(_names)


@pytest.fixture
def run(digits_run: Path, workplace: Path) -> Path:
    """A run from elsewhere, in the folder of all runs."""
    return shutil.copytree(digits_run, Path("runs", "foreign"))


def names(run: Path, old: str, new: str) -> None:
    path = run / "config.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 2
    line = capsys.readouterr().err
    assert line.count("mcubench: error: ") == line.count("\n") == 1
    assert not list(Path().rglob("ran"))
    return line


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict", "profile", "parity", "quantize", "export"])
def test_a_run_brings_its_model(run: Path, capsys: pytest.CaptureFixture[str], module: str, verb: str) -> None:
    (run / f"{module}.py").write_text(CODE)
    names(run, MODEL, f"runs.foreign.{module}.Net")
    line = refused(capsys, verb, "--ckpt_path", "runs/foreign")
    assert f"runs/foreign/config.yaml names runs.foreign.{module}.Net" in line
    assert f"in runs/foreign/{module}.py" in line
    assert "--trust" in line
    assert "the folder in which you start the command" in line


@pytest.mark.parametrize(
    ("verb", "old", "new"),
    [
        ("fit", DATA, "{}.Data"),
        ("fit", "callbacks: null", "callbacks: {{class_path: {}.Callback}}"),
        ("fit", f"{MODEL}\n  init_args:", "mcubench.models.own.Network\n  init_args:\n    net: {}.Net"),
        ("test", "model:\n", "model: {}.Net\nwas:\n"),
        ("test", "model:\n", "model: {{class_path: {}.Net}}\nwas:\n"),
        (
            "test",
            "model:\n",
            "model: {{class_path: mcubench.baselines.Sklearn, init_args: {{estimator: {}.Tree}}}}\nwas:\n",
        ),
    ],
)
def test_a_run_brings_another_class(
    run: Path, capsys: pytest.CaptureFixture[str], module: str, verb: str, old: str, new: str
) -> None:
    (run / f"{module}.py").write_text(CODE)
    names(run, old, new.format(f"runs.foreign.{module}"))
    assert f"names runs.foreign.{module}." in refused(capsys, verb, "--ckpt_path", "runs/foreign")


@pytest.mark.parametrize("verb", ["fit", "fit --folds 3", "fit --seeds 2", "profile"])
def test_its_configuration_is_no_way_in(run: Path, capsys: pytest.CaptureFixture[str], module: str, verb: str) -> None:
    (run / module).mkdir()
    (run / module / "__init__.py").write_text(CODE)
    names(run, MODEL, f"runs.foreign.{module}.Net")
    assert "came with it" in refused(capsys, *verb.split(), "--config", "runs/foreign/config.yaml")


def test_code_beside_the_folder_of_the_run(run: Path, capsys: pytest.CaptureFixture[str], module: str) -> None:
    """An archive with a run and code, unpacked in a folder."""
    shutil.move("runs", "archive/runs")
    Path("archive", f"{module}.py").write_text(CODE)
    names(Path("archive/runs/foreign"), MODEL, f"archive.{module}.Net")
    assert f"in archive/{module}.py" in refused(capsys, "test", "--ckpt_path", "archive/runs/foreign")


def test_a_linked_run(
    run: Path, capsys: pytest.CaptureFixture[str], module: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "run"
    shutil.move(run, elsewhere)
    run.symlink_to(elsewhere)
    (run / f"{module}.py").write_text(CODE)
    names(run, MODEL, f"runs.foreign.{module}.Net")
    assert "came with it" in refused(capsys, "test", "--ckpt_path", "runs/foreign")


def test_from_the_folder_of_the_run(
    run: Path, capsys: pytest.CaptureFixture[str], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / f"{module}.py").write_text(CODE)
    names(run, MODEL, f"{module}.Net")
    monkeypatch.chdir(run)
    for words in (["test", "--ckpt_path", "."], ["profile", "--config", "config.yaml"]):
        assert f"names {module}.Net" in refused(capsys, *words)
    assert main(["test", "--ckpt_path", ".", "--trust", *QUIET]) == 0
    assert Path("ran").exists()


def test_no_file_of_a_run_stands_in_for_a_package(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that is imported late."""
    (run / "xdrlib.py").write_text(CODE)
    monkeypatch.chdir(run)
    monkeypatch.delitem(sys.modules, "xdrlib", raising=False)
    names(Path(), MODEL, "xdrlib.Packer")
    assert main(["profile", "--ckpt_path", "."]) == 2
    assert not Path("ran").exists()


def test_what_is_typed_and_what_lies_here_is_run(run: Path, module: str) -> None:
    Path(f"{module}.py").write_text(CODE)
    names(run, MODEL, f"{module}.Net")
    assert main(["test", "--ckpt_path", "runs/foreign", *QUIET]) == 0
    Path("ran").unlink()
    (run / f"{module}2.py").write_text(CODE)
    typed = ["--model", f"runs.foreign.{module}2.Net", "--model.channels", "4"]
    assert main(["test", "--ckpt_path", "runs/foreign", *typed, *QUIET]) == 0
    assert Path("ran").exists()


@pytest.mark.parametrize(
    ("made", "arguments", "message"),
    [
        ("subprocess.getoutput", "{cmd: touch ran}", "subprocess.getoutput called"),
        ("os.system", "{command: touch ran}", "os.system called"),
        ("subprocess.Popen", "{args: [touch, ran]}", "subprocess.Popen is no torch module"),
    ],
)
def test_no_function_is_called_that_can_do_anything(
    workplace: Path, capsys: pytest.CaptureFixture[str], made: str, arguments: str, message: str
) -> None:
    wrapped = f"init_args: {{net: {made}, arguments: {arguments}}}"
    data = f"data: {{class_path: {DATA}, init_args: {{size: 8}}}}"
    Path("a.yaml").write_text(f"model: {{class_path: mcubench.models.own.Network, {wrapped}}}\n{data}")
    assert message in refused(capsys, "fit", "--config", "a.yaml")
    Path("a.yaml").write_text(f"model: {{class_path: {made}, init_args: {arguments}}}\n{data}")
    assert made in refused(capsys, "fit", "--config", "a.yaml")


def test_no_option_names_what_starts_programs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.yaml").write_text("trainer: {callbacks: [{class_path: subprocess.Popen, init_args: {args: [touch, ran]}}]}")
    assert "subprocess.Popen can start programs" in refused(capsys, "fit", "--config", "a.yaml")


def test_functions_that_return_modules_are_called(workplace: Path) -> None:
    with guarded([]):
        guards(Path("a.yaml"), {"model": {"class_path": "torchvision.models.mobilenet_v3_small"}})
        with pytest.raises(UserError, match=r"has torch\.load called"):
            guards(Path("a.yaml"), {"model": {"class_path": "torch.load"}})
