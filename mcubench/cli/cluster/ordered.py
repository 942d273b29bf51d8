"""Fits by their words and folders, run by a cluster's workers."""

from __future__ import annotations

import contextlib
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
                yield key, outcome
