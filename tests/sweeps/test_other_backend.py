"""The tests of this folder once more, on Keras' other backend: a process can't have both."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

HERE = Path(__file__)
INNER = "MCUBENCH_INNER_TESTS"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")
@pytest.mark.skipif(INNER in os.environ, reason="this is the run on the other backend")
def test_all_of_parity_on_the_other_backend() -> None:
    other = "tensorflow" if os.environ.get("KERAS_BACKEND") == "torch" else "torch"
    left_out = [f"--ignore={HERE}", f"--ignore={HERE.with_name('test_backend.py')}"]  # the latter starts processes
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", str(HERE.parent), *left_out],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": other, INNER: "1"},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert found.returncode == 0, f"on {other}:\n{found.stdout[-6000:]}\n{found.stderr[-2000:]}"
