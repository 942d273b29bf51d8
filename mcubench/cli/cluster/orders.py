"""What goes to a worker: words and folders; needs neither torch nor Dask."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import mcubench

__all__ = ["Order", "SharedMark", "shared_mark", "versions"]

_PATIENCE = 5.0  # seconds until a new file is seen on the other machines of a shared folder


@functools.cache
def versions() -> dict[str, str]:
    """What results may depend on, of this process: python, torch, and mcubench with a digest of its sources."""
    torch = importlib.metadata.version("torch").partition("+")[0]  # behind it stands what devices it was built for
    return {
        "python": "{}.{}".format(*sys.version_info),
        "torch": torch,
        "mcubench": f"{mcubench.__version__} (sources {_digest()})",
    }


def _digest() -> str:
    package, found = Path(mcubench.__file__).parent, hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(f"{path.relative_to(package)}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:8]


@dataclass(frozen=True)
class SharedMark:
    """A file by which a worker sees that a folder is that of the machine which the order comes from.

    Attributes:
        path: The file.
        token: What stands in it.
    """

    path: str
    token: str

    def is_seen(self) -> bool:
        """Whether it is here, too."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(OSError):
                if Path(self.path).read_text("utf-8") == self.token:
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)


@dataclass(frozen=True)
class Order:
    """A fit to be run.

    Attributes:
        words: What follows ``fit`` on the command line.
        folder: Where it writes.
        start: The folder that the command was started in: paths and modules among the words are found from there.
        mark: Lies in the folder that all runs share.
        trusts: Whether ``--trust`` was given.
        versions: Of what computes, where the order comes from.
    """

    words: tuple[str, ...]
    folder: str
    start: str
    mark: SharedMark
    trusts: bool
    versions: dict[str, str] = field(default_factory=lambda: versions())  # noqa: PLW0108 - looked up when an order is made


@contextlib.contextmanager
def shared_mark(folder: Path) -> Iterator[SharedMark]:
    """Has a mark lie in a folder while workers write there."""
    path = folder.absolute() / f".shared-{secrets.token_hex(4)}"
    mark = SharedMark(str(path), secrets.token_hex(16))
    try:
        path.write_text(mark.token, "utf-8")
        yield mark
    finally:
        path.unlink(missing_ok=True)
