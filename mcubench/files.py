"""Files that are whole or not there: atomic writes, hashes, and the folder for derived data."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

__all__ = ["atomic_path", "cache_folder", "sha256_of"]


def cache_folder() -> Path:
    """The user's cache folder for mcubench (honours ``XDG_CACHE_HOME``); it may not exist yet."""
    return platformdirs.user_cache_path("mcubench")


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path beside `target`; what was written there becomes `target` only if the block succeeds.

    A process killed inside the block leaves `target` as it was. What it leaves beside it is swept away by the next
    write of the same target.

    Args:
        target: The file to write. Its folder is made if it is missing.

    Yields:
        The path to write to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):
            error.filename = str(target)  # which is what its reader knows; what a disk refuses has no name at all
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Deletes what killed processes left beside a file; what somebody else has put there is none of ours."""
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        pid = stale.name.removeprefix(f".{target.name}.").removesuffix(".tmp")
        if pid.isascii() and pid.isdigit() and not _is_running(int(pid)):
            with contextlib.suppress(OSError):  # that of another user
                stale.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # the latter for what no process can be called
        return False
    except PermissionError:
        return True
    return True
