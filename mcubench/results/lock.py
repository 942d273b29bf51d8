"""One process at a time in a folder, as long as it lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from mcubench.errors import UserError
from mcubench.results.run_folder import shown

__all__ = ["alone_in"]

_held: set[int] = set()


@contextlib.contextmanager
def alone_in(folder: Path, shared: bool = False) -> Iterator[None]:
    """Keeps others out of a folder while it lasts; the lock goes with the process, however that ends.

    The folder itself is locked, so that nothing is left in it. File systems that have no locks are gone on with.

    Args:
        folder: The folder.
        shared: Keeps out only those who want it for themselves.

    Raises:
        UserError: If another process is at work there.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    _held.add(descriptor)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        _release(descriptor)
        raise UserError(f"another process is at work in {shown(folder)}: wait until it has ended") from None
    except OSError:
        pass
    try:
        yield
    finally:
        _release(descriptor)


def _release(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _forget() -> None:
    """Gives up a child's share in its parent's locks: a loader's worker may outlive its parent for seconds."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget)
