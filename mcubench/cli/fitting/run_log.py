"""Where a fit prints that is one of many."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["RUN_LOG", "printing_to"]

RUN_LOG = "log.txt"


@contextlib.contextmanager
def printing_to(folder: Path) -> Iterator[None]:
    """Adds what is printed to ``log.txt`` in a run's folder, line by line, for those who watch it."""
    with (
        (folder / RUN_LOG).open("a", buffering=1, encoding="utf-8") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        yield
