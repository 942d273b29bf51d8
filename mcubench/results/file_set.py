"""Files that belong together: the old ones whole, or the new ones."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from mcubench.errors import UserError
from mcubench.files import atomic_path
from mcubench.results.lock import alone_in

__all__ = ["written_together"]

_HERE = -100  # AT_FDCWD of Linux: paths are relative to the working folder
_EXCHANGE = 2  # RENAME_EXCHANGE


@contextlib.contextmanager
def written_together(folder: Path, names: Collection[str]) -> Iterator[Path]:
    """Yields a folder to write in; what was written there goes to `folder` if the block succeeds, all at once.

    A process that is killed leaves the old files or the new ones, never some of each: the two folders change places.
    Where that is not possible, because `folder` has files of other names too, somebody works in it, or it can't be
    renamed, files are replaced one by one when all are written. What `folder` has besides stays.

    Args:
        folder: Where the files go; it is made if it is missing.
        names: All names that such files may have.

    Yields:
        The folder to write to.
    """
    folder = folder.resolve()
    home = folder.parent if _can_move(folder, names) else folder
    home.mkdir(parents=True, exist_ok=True)
    for stale in home.glob(f".{glob.escape(folder.name)}.*.tmp"):
        with contextlib.suppress(OSError, UserError), alone_in(stale):  # its process was killed
            shutil.rmtree(stale)
    staging = home / f".{folder.name}.{os.getpid()}.tmp"
    staging.mkdir()
    try:
        with alone_in(staging):
            yield staging
            _publish(staging, folder, home is not folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _can_move(folder: Path, names: Collection[str]) -> bool:
    if not folder.exists():
        return True
    used = folder in (Path.cwd(), *Path.cwd().parents)
    mounted = folder.stat().st_dev != folder.parent.stat().st_dev
    alone = {each.name for each in folder.iterdir()} <= {*names}
    return alone and not (used or mounted) and os.access(folder.parent, os.W_OK)


def _publish(staging: Path, folder: Path, moves: bool) -> None:
    if moves and not folder.exists():
        staging.rename(folder)
        return
    new = [path.relative_to(staging) for path in staging.rglob("*") if path.is_file()]
    if moves:
        with contextlib.suppress(OSError):  # a file system without hard links, or that can't exchange two names
            _link_missing(folder, staging)
            _exchange(staging, folder)
            return
    for name in new:
        with atomic_path(folder / name) as temporary:
            shutil.copyfile(staging / name, temporary)


def _link_missing(source: Path, target: Path) -> None:
    """Gives a folder what another has and it has not, by links."""
    shutil.copymode(source, target)
    for path in source.rglob("*"):
        place = target / path.relative_to(source)
        if path.is_dir() and not path.is_symlink():
            place.mkdir(exist_ok=True)
        elif not os.path.lexists(place):
            os.link(path, place, follow_symlinks=False)


def _exchange(one: Path, other: Path) -> None:
    """Has two folders change places, in one step."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
