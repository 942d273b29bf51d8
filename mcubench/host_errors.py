"""What the machine that a command runs on refuses, as the user's to mend: disks full or locked, too little memory."""

from __future__ import annotations

import errno
import os
import re
import tempfile
from pathlib import Path

from mcubench.errors import UserError

__all__ = ["DiskError", "OutOfMemoryError", "check_writable", "host_error"]

_ADVICE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space, or write elsewhere"),
    errno.EFBIG: "raise the limit on the size of files (ulimit -f), or write elsewhere",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "change its rights, or name another place"),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP), "name another place"),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit on open files (ulimit -n)"),
    errno.EIO: "the disk itself has failed: write elsewhere",
}
_NO_MEMORY = ("can't allocate memory", "out of memory", "Cannot allocate memory", "std::bad_alloc")


class DiskError(UserError):
    """A file can't be written or read: no space, no rights, no place of that name."""


class OutOfMemoryError(UserError):
    """There is not as much memory as a computation needs."""


def host_error(error: BaseException) -> DiskError | OutOfMemoryError | None:
    """What to say of an error that the machine is the reason of; ``None`` if it is another.

    Args:
        error: What came out of a command.
    """
    if isinstance(error, OSError) and error.errno in _ADVICE:
        where = f"{os.fspath(error.filename)}: " if isinstance(error.filename, (str, os.PathLike)) else ""
        return DiskError(f"{where}{error.strerror}; {_ADVICE[error.errno]}")
    is_no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    told = isinstance(error, RuntimeError) and any(text in str(error) for text in _NO_MEMORY)  # torch's
    if isinstance(error, MemoryError) or is_no_memory or told:
        asked = re.search(r"([Tt]ried|Unable) to allocate [\d.]+ \w+", str(error))
        reason = f" ({asked[0]})" if asked else ""
        return OutOfMemoryError(
            f"there is not enough memory{reason}: take a smaller model, smaller batches or fewer samples"
        )
    return None


def check_writable(target: Path, option: str = "") -> None:
    """Sees before a computation that the file which takes its outcome can be written; nothing is left of the trial.

    Args:
        target: The file; its folder may be missing.
        option: The option that names it, if one does.

    Raises:
        DiskError: If there is a folder of that name, or no file can be made where it is to be.
    """
    name = f"{option} {target}".lstrip()
    if target.is_dir():
        raise DiskError(f"{name} is a folder; give a file, or move it away")
    place = target.absolute().parent
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise DiskError(
            f"{name} can't be written: {place}: {error.strerror}; change its rights, or name another place"
        ) from None
