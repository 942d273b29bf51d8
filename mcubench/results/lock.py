"""One process at a time in a folder, as long as it lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mcubench.errors import UserError
from mcubench.results.run_folder import shown

__all__ = ["alone_at", "alone_in"]

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


@contextlib.contextmanager
def alone_at(file: Path, wait: float) -> Iterator[None]:
    """Keeps others out while it lasts, by a file that is made for it and goes with it.

    Unlike a folder's, such a lock also holds between machines that share the folder, as far as their file system has
    locks, and stays where the folder beside it is made anew.

    Args:
        file: The file.
        wait: Seconds to wait for another process.

    Raises:
        UserError: If another one is at work for longer.
        OSError: If the file can't be made.
    """
    deadline = time.monotonic() + wait
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        _held.add(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _release(descriptor)
            if time.monotonic() > deadline:
                raise UserError(f"another process is at work beside {shown(file)}: wait until it has ended") from None
            time.sleep(0.2)
            continue
        except OSError:
            pass
        if _is_at(descriptor, file):
            break
        _release(descriptor)  # who had it has taken the file away
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        _release(descriptor)


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _release(descriptor: int) -> None:
    _held.discard(descriptor)
    os.close(descriptor)


def _forget() -> None:
    """Gives up a child's share in its parent's locks: a loader's worker may outlive its parent for seconds."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget)
