"""Shared by all tests: a private cache, the real data where it lies, and a module that knows nothing of mcubench."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcubench import mend_torchvision

mend_torchvision()

import torch  # noqa: E402

torch.set_num_threads(1)  # tiny models are slower with more
warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Derived data goes to a folder of this test session, not to the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real MNIST and HAPT files; skips without it, but not in CI."""
    root = Path(os.environ.get("MCUBENCH_DATA") or REPOSITORY.parent / "shared" / "data").resolve()
    if not (root / "MNIST" / "raw").is_dir() or not (root / "HAPT").is_dir():
        reason = f"no MNIST/raw and HAPT under {root}; name the folder that has them with MCUBENCH_DATA"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return root


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without a data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCUBENCH_DATA", raising=False)
    return tmp_path
