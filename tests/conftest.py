"""Shared by all tests: a private cache, the real data where it lies, and a module that knows nothing of mcubench."""

from __future__ import annotations

import base64
import gc
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Processes share the cores: a second thread of theirs waits in a loop for one, and takes longer than it helps. It is
# said before numpy is imported, and inherited by what tests start.
for _library in ("OMP", "OPENBLAS"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

pytest_plugins = ["tests.gate.order", "tests.gate.summary"]

REPOSITORY = Path(__file__).parents[1]

# Examples are traced and trained, which takes as long as it takes. With CI set, they are the same in every run.
_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
settings.register_profile("mcubench", parent=settings(), deadline=None, suppress_health_check=_SLOW)
settings.load_profile("mcubench")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Prepares a process that runs tests."""
    if not _shares_out(session):
        _prepare()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Prepares the process that shares tests out, now that no other waits: it may be sent a warning of torch's."""
    if _shares_out(session):
        _prepare()


def _shares_out(session: pytest.Session) -> bool:
    return bool(session.config.getoption("numprocesses", None)) and not hasattr(session.config, "workerinput")


def _prepare() -> None:
    from mcubench import mend_torchvision

    mend_torchvision()
    import torch

    torch.set_num_threads(1)  # tiny models are slower with more


def pytest_collection_finish() -> None:
    """What was imported stays, so the garbage collector need not look at it, nor as often as it does at the rest."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Derived data goes to a folder of this test session, one for all its processes, not to the user's cache."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared / "cache"))
        yield


# The smallest PNG: one grey pixel.
_PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="session", autouse=True)
def _plots_are_pixels() -> Iterator[None]:
    """A fit draws two plots, which takes half of a short one; `drawing` is for tests of what it draws."""
    from mcubench.results import plots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", lambda _figure, target: target.write_bytes(_PIXEL))
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


@pytest.fixture(scope="session")
def shared_models(real_data: Path) -> Path:
    """The folder ``models`` beside the real data, with other people's model files; likewise."""
    folder = real_data.parent / "models"
    if not folder.is_dir():
        reason = f"no model files in {folder}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without a data root."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MCUBENCH_DATA", raising=False)
    return tmp_path
