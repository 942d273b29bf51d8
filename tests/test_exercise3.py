"""The notebooks of examples/exercise3 at their reduced size: their asserts hold hand counts and plain scikit-learn."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jupytext
import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "examples" / "exercise3"
NOTEBOOKS = sorted(FOLDER.glob("*.py"))


def executed(source: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a notebook as nbmake does in anybody's CI, from an empty folder."""
    jupytext.write(jupytext.reads(source, fmt="py:percent"), folder / "notebook.ipynb")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "EXERCISE3"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbmake", "--nbmake-timeout=300", "."],
        cwd=folder,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path: Path, real_data: Path, tmp_path: Path) -> None:
    source = path.read_text("utf-8")
    if "load_keras" in source and find_spec("keras") is None:
        pytest.skip("keras is not installed")
    found = executed(source, tmp_path, MCUBENCH_DATA=str(real_data))
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert "1 passed" in found.stdout


def test_a_wrong_count_is_caught(tmp_path: Path) -> None:
    found = executed("# %%\nmacs = 784 * 42 + 42 * 10\n\n# %%\nassert macs == 33_349\n", tmp_path)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "AssertionError" in found.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_a_plain_script(path: Path) -> None:
    source = path.read_text("utf-8")
    compile(source, path.name, "exec")  # no magics
    assert f"`{path.name}`" in (FOLDER / "README.md").read_text("utf-8"), "the README has a row for each"


def test_there_are_four() -> None:
    assert [path.name[0] for path in NOTEBOOKS] == ["1", "2", "3", "4"]
