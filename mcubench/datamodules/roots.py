"""Where data sets are looked for, and how a missing file is fetched."""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from rich import progress

from mcubench.errors import MissingDataError
from mcubench.files import atomic_path, cache_folder, sha256_of

__all__ = ["data_root", "fetch"]

_TIMEOUT = 20.0  # seconds without a byte
_CHUNK = 1 << 18  # bytes


def data_root(root: str | os.PathLike[str] | None) -> Path:
    """The folder that holds the data sets: `root`, else ``$MCUBENCH_DATA``, else a folder in the user's cache."""
    chosen = root or os.environ.get("MCUBENCH_DATA")
    return Path(chosen).expanduser() if chosen else cache_folder() / "data"


def fetch(urls: Iterable[str], target: Path, sha256: str) -> None:
    """Downloads a file from the first address that answers; `target` appears only once its hash is right.

    Args:
        urls: Mirrors of one file, tried in order.
        target: Where to put it.
        sha256: The hash that the content must have.

    Raises:
        MissingDataError: If no mirror gave the right content, or `target` can't be written; it names each reason.
    """
    reasons = []
    for url in urls:
        try:
            with atomic_path(target) as temporary:
                _download(url, temporary, label=target.name)
                found = sha256_of(temporary)
                if found != sha256:
                    raise OSError(f"content has sha256 {found[:12]}..., expected {sha256[:12]}...")
                return
        except OSError as error:
            reasons.append(f"{url}: {getattr(error, 'reason', error)}")
    raise MissingDataError("; ".join(reasons))


def _download(url: str, target: Path, label: str) -> None:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response, target.open("wb") as file:  # noqa: S310 - our own addresses
        size = int(response.headers.get("Content-Length") or 0)
        with progress.Progress(transient=True) as bar:
            task = bar.add_task(f"download {label}", total=size or None)
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                bar.advance(task, len(chunk))
