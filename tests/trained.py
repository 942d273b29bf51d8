"""Small runs for tests of what is done with trained models."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcubench.cli.main import main
from mcubench.results import plots

_save = plots._save  # before a test session replaces it


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Plots of runs are drawn while it lasts, as they are for users."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plots, "_save", _save)
        yield


def trained(root: Path, *options: str) -> Path:
    """The folder of a run that was trained for an epoch."""
    before = set(root.glob("*"))
    quiet = ["--trainer.max_epochs", "1", "--trainer.enable_progress_bar", "false"]
    assert main(["fit", *quiet, "--trainer.default_root_dir", str(root), *options]) == 0
    (run,) = set(root.glob("*")) - before
    return run


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CNN on digits of 8 x 8 pixels."""
    options = ["--model", "CNN", "--model.channels", "4", "--data", "Digits", "--data.size", "8"]
    return trained(tmp_path_factory.mktemp("runs"), *options)
