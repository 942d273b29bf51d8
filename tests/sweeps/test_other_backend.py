"""All of ``tests/parity`` once more, on Keras' other backend: a process can't have both."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from tests.conftest import REPOSITORY

PARITY = REPOSITORY / "tests" / "parity"


@pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")
def test_all_of_parity_on_the_other_backend() -> None:
    other = "tensorflow" if os.environ.get("KERAS_BACKEND") == "torch" else "torch"
    words = [
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        f"--ignore={PARITY / 'test_backend.py'}",
    ]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(PARITY)],
        cwd=REPOSITORY,
        env={**os.environ, "KERAS_BACKEND": other},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert found.returncode == 0, f"on {other}:\n{found.stdout[-6000:]}\n{found.stderr[-2000:]}"
