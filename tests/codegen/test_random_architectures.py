"""200 random architectures in C on the host: 0 bytes that are not the integer graph's. `sweeps/` has 1,000."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mcubench.codegen import DIALECTS
from tests.codegen.drawn import drawn_cases
from tests.codegen.host import ZIG, differing

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")


def test_random_architectures(tmp_path: Path) -> None:
    command = ["gcc"] if shutil.which("gcc") else ZIG
    assert differing(drawn_cases(200, sorted(DIALECTS)), tmp_path, command) == {}
