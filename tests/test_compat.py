"""mend_torchvision on torchvisions that load, do not load, or are not there, each in a process of its own."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from mcubench import mend_torchvision
print(mend_torchvision(), mend_torchvision())
import torch
print(hasattr(torch.ops.torchvision, "nms"), hasattr(torch.ops.torchvision, "qnms"))
"""


def mend(folder: Path) -> list[str]:
    script = SCRIPT.format(folder=str(folder))
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture
def torchvision(tmp_path: Path) -> Path:
    """A package of that name, found before the real one."""
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").touch()
    return package


def test_a_library_that_does_not_load_is_replaced_by_declarations(torchvision: Path) -> None:
    (torchvision / "_C.so").write_bytes(b"built for another torch")
    assert mend(torchvision.parent) == ["True", "True", "True", "True"]


def test_a_library_that_loads_is_left_alone(torchvision: Path) -> None:
    library = next(Path("/").glob(f"lib*/**/{ctypes.util.find_library('m')}"), None)
    if library is None:
        pytest.skip("no shared library to stand in for one that loads")
    shutil.copy(library, torchvision / "_C.so")
    assert mend(torchvision.parent) == ["False", "False", "False", "False"]


def test_no_library_no_mend(torchvision: Path) -> None:
    assert mend(torchvision.parent) == ["False", "False", "False", "False"]


def test_lightning_imports_after_it_here() -> None:
    script = (
        "import mcubench; mcubench.mend_torchvision(); import lightning, torchvision.datasets, torchvision.transforms"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
