"""1,000 random architectures at 8, 4 and 2 bits: TFLite Micro computes the same bytes in the arena that was planned.

In a process of its own (`tflm_architectures.py`): native code of all kinds has run in the one that this test is in, and
what is wrong there must not be taken for an answer of TFLite Micro's.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests import forked
from tests.conftest import REPOSITORY

SWEEP = Path(__file__).with_name("tflm_architectures.py")


def test_a_thousand_random_architectures() -> None:
    words = ["-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", str(SWEEP)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    found = forked.run(words, cwd=REPOSITORY, env=environment, timeout=1800)
    assert found.returncode == 0, f"{found.stdout[-6000:]}\n{found.stderr[-2000:]}"
    assert "1 passed" in found.stdout
