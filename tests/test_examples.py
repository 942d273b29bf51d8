"""The example of somebody else's repository, from a copy outside of ours, as their CI runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests import forked
from tests.conftest import REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed"),
]

EXAMPLE = REPOSITORY / "examples" / "parity_in_ci"


def their_tests(copy: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHONPATH", "PYTEST_"))}
    return forked.run(["-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=copy, env=environment, timeout=300)


def test_parity_in_somebodys_ci(tmp_path: Path) -> None:
    copy = tmp_path / "repository"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    found = their_tests(copy)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "2 passed" in found.stdout

    port = copy / "their_net" / "keras_net.py"
    text = port.read_text("utf-8")
    assert text.count('activation="relu"') == 1
    port.write_text(text.replace('activation="relu"', 'activation="gelu"'), "utf-8")
    found = their_tests(copy)
    assert found.returncode == 1, found.stdout + found.stderr
    assert "1 failed, 1 passed" in found.stdout
    assert "KeywordNet differs from Keras" in found.stdout
    assert "first at pointwise (Conv 1x1)" in found.stdout
    assert "mcubench/testing.py" not in found.stdout, "a failure shows the line of their test"
