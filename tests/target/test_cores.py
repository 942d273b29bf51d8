"""Every kernel in C on every emulated core: 0 bytes that are not the integer graph's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcubench.target import CORES
from tests.codegen.nets import cases
from tests.target.emulated import differing


@pytest.mark.slow
@pytest.mark.parametrize("key", CORES)
def test_every_kernel_on_a_core(key: str, tmp_path: Path) -> None:
    core = CORES[key]
    widths = (8, 4, 2) if key in ("cortex-m4", "cortex-m0+") else (8,)  # the others have one of their dialects
    assert differing(cases(core.dialect, widths), core, tmp_path) == {}
