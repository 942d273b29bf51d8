"""All of ``tests/parity`` once more, on Keras' other backend: a process can't have both."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from tests import forked
from tests.conftest import REPOSITORY

PARITY = REPOSITORY / "tests" / "parity"


@pytest.mark.skipif(find_spec("keras") is None, reason="keras is not installed")
def test_all_of_parity_on_the_other_backend() -> None:
    other = "tensorflow" if os.environ.get("KERAS_BACKEND") == "torch" else "torch"
    words = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", f"--ignore={PARITY / 'test_backend.py'}"]
    # nothing of the session that this test is a part of: the other one has a cache folder of its own
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    environment["KERAS_BACKEND"] = other
    found = forked.run([*words, str(PARITY)], cwd=REPOSITORY, env=environment, timeout=1800)
    assert found.returncode == 0, f"on {other}:\n{found.stdout[-6000:]}\n{found.stderr[-2000:]}"
