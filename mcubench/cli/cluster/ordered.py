"""Fits by their words and folders, run by a cluster's workers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from mcubench.cli.cluster import orders
from mcubench.cli.cluster.client import Workers, outcomes
from mcubench.cli.fitting.one_fit import Outcome
from mcubench.cli.options.trust import trusts_all
from mcubench.errors import UserError

__all__ = ["ordered"]

K = TypeVar("K")

_PATIENCE = 60.0  # seconds, for which NFS may keep what it knows of a folder


def ordered(
    workers: Workers, shared: Path, fits: Mapping[K, tuple[Sequence[str], Path]]
) -> Generator[tuple[K, Outcome]]:
    """Has all fits run, and gives how they went, the first that ends first; those that are left are stopped.

    Args:
        workers: Who runs them.
        shared: The folder that holds all of theirs, which exists.
        fits: The words after ``fit`` and the folder of each.

    Raises:
        UserError: If no scheduler answers, or a fit fails in a way that all others would fail in, too.
    """
    with orders.shared_mark(shared) as mark, workers.connected() as client:
        here, trusts = str(Path.cwd()), trusts_all()
        given = {
            key: orders.Order(tuple(words), str(folder.absolute()), here, mark, trusts)
            for key, (words, folder) in fits.items()
        }
        with contextlib.closing(outcomes(client, given)) as found:
            for key, outcome in found:
                if outcome.ends_all:
                    raise UserError(f"{key}: {outcome.text}")
                result = fits[key][1] / "result.json"
                if outcome.is_done and not _is_seen(result):
                    yield key, Outcome(f"failed: it is done on its worker, and there is no {result} here")
                else:
                    yield key, outcome


def _is_seen(file: Path) -> bool:
    """Whether a file is here that another machine has written; shared folders take their time."""
    deadline = time.monotonic() + _PATIENCE
    while not file.is_file():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
