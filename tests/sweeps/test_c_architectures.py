"""1,000 random architectures in C, of all dialects, at 8, 4 and 2 bits: the integer graph's bytes, under sanitizers."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcubench.codegen import DIALECTS
from tests.codegen.drawn import drawn_cases
from tests.codegen.host import differing

pytestmark = pytest.mark.filterwarnings("ignore:Using padding=.same.:UserWarning")


def test_a_thousand_random_architectures(tmp_path: Path) -> None:
    assert differing(drawn_cases(1000, sorted(DIALECTS)), tmp_path) == {}
