"""Where the trials of a study are noted: a journal in its folder, or a data base that somebody names."""

from __future__ import annotations

import contextlib
import fcntl
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mcubench.errors import UserError

if TYPE_CHECKING:
    import optuna

__all__ = ["JOURNAL", "import_optuna", "locked", "open_storage"]

JOURNAL = "journal.log"
_GRPC = "grpc://"
_ANSWERS_WITHIN = 10  # seconds


def import_optuna() -> None:
    """Sees that Optuna is there, and quiet.

    Raises:
        UserError: If it is not installed, or too old.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise UserError(f"search needs {error.name}: pip install 'mcubench[search]'") from None
    if not hasattr(optuna.Trial, "set_constraint"):
        raise UserError(f"search needs Optuna 5 or later; {optuna.__version__} is installed")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for a lock, and holds it; the system takes it from a process that has ended, however it did.

    Raises:
        UserError: If the file system has no locks, so that nobody would know who trains what.
    """
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(
                f"{path.parent} lies on a file system without locks ({error.strerror}), which several processes at one "
                "study need: give --study on another one"
            ) from None
        yield


def open_storage(folder: Path, url: str | None) -> optuna.storages.BaseStorage:
    """Opens what keeps the trials of a study.

    Args:
        folder: The study's folder.
        url: A data base, as SQLAlchemy names it, or ``grpc://host:port`` of a proxy of Optuna's; not given, a journal
            in the folder.

    Raises:
        UserError: If it can't be opened, does not answer, or its driver is not installed.
    """
    import optuna

    if url is None:
        path = folder / JOURNAL
        with locked(_lock_of(path)):
            _complete_last_line(path)
        return optuna.storages.JournalStorage(_journal(path))
    try:
        return _proxy(url) if url.startswith(_GRPC) else optuna.storages.RDBStorage(url)
    except Exception as error:  # of SQLAlchemy's, of a driver's, and what is raised where that is not installed
        raise UserError(f"--storage {url.partition('://')[0]}://... can't be opened: {error}") from error


def _proxy(url: str) -> optuna.storages.BaseStorage:
    from optuna.storages import GrpcStorageProxy

    host, _, port = url.removeprefix(_GRPC).partition(":")
    proxy = GrpcStorageProxy(host=host, port=int(port))
    proxy.wait_server_ready(timeout=_ANSWERS_WITHIN)
    return proxy


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _journal(path: Path) -> optuna.storages.journal.JournalFileBackend:
    from optuna.storages.journal import JournalFileBackend
    from optuna.storages.journal._file import BaseJournalFileLock

    class Lock(BaseJournalFileLock):
        """Optuna's own is a file, for which others wait half a minute when a process was killed that held it."""

        def __init__(self) -> None:
            self._held = contextlib.ExitStack()

        def acquire(self) -> bool:
            self._held.enter_context(locked(_lock_of(path)))
            return True

        def release(self) -> None:
            self._held.close()

    return JournalFileBackend(str(path), lock_obj=Lock())


def _complete_last_line(path: Path) -> None:
    """Cuts off half a line, which a machine that went down may have left: no other can be read behind it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = end = file.seek(0, io.SEEK_END)
        while end > 0:
            start = max(0, end - 4096)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
