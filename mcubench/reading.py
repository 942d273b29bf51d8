"""Files that are read back: where their errors, the system's too, become sentences."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mcubench.errors import CorruptDataError, UnreadableError

__all__ = ["opened", "read_json", "unreadable"]

_LARGEST_JSON = 64 << 20  # bytes; a result has some thousand


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Opens a file to read it back.

    Args:
        path: The file.

    Yields:
        The file, open for reading.

    Raises:
        FileNotFoundError: If there is none.
        UnreadableError: If it is a folder or a device, or the system does not give it out, here or in the block.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for, and a device never ends
            raise UnreadableError(f"{path} can't be read: it is {'a folder' if path.is_dir() else 'no plain file'}")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> UnreadableError:
    """The sentence for what the system says of a file or folder, or of one on the way to it."""
    return UnreadableError(f"{error.filename or path} can't be read: {error.strerror or error}")


def read_json(path: Path) -> Any:
    """Reads a file of JSON in UTF-8.

    Raises:
        FileNotFoundError: If there is none.
        UnreadableError: As `opened` does.
        CorruptDataError: If it is something else, or has a name twice in one object.
    """
    with opened(path) as file:
        content = file.read(_LARGEST_JSON + 1)
    if len(content) > _LARGEST_JSON:
        raise CorruptDataError(f"{path} is damaged: it has more than {_LARGEST_JSON >> 20} MB")
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"{path} is damaged: it is not JSON ({error})") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found
