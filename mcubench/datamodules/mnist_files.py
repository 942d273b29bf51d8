"""MNIST's four files, told by their content: unpacked, packed, packed anew, and whatever they are called."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mcubench.datamodules.idx import GZIP, announced_shape, unpacked
from mcubench.errors import CorruptDataError, MissingDataError
from mcubench.reading import unreadable

__all__ = ["CONTENTS", "Content", "find", "is_there", "listed"]

_MOST_LISTED = 6
_BEGINNINGS = {
    b"<": "it is a web page, as a server sends it instead of a file",
    b"version https://git-lfs": "it is a pointer of Git LFS, not the file itself (git lfs pull fetches that)",
}


@dataclass(frozen=True)
class Content:
    """One of the four, unpacked: its size in bytes, and its hash."""

    size: int
    sha256: str


# What the original .gz files hold, whose own md5 torchvision publishes.
CONTENTS = {
    "train-images-idx3-ubyte": Content(47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
    "train-labels-idx1-ubyte": Content(60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": Content(7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
    "t10k-labels-idx1-ubyte": Content(10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


def is_there(home: Path, name: str) -> bool:
    """Whether a folder has a file of that name, good or not, or the content under another name."""
    return bool(_called(home, name)) or any(_holds(path, name) for path in _sized(home, name))


def find(home: Path, name: str) -> bytes:
    """The content of one of the four files, unpacked, its hash checked.

    Args:
        home: The folder ``MNIST``; the file lies in it, in its ``raw``, or one folder deeper.
        name: A key of `CONTENTS`.

    Raises:
        MissingDataError: If nothing there may be that file.
        CorruptDataError: If what is called so holds something else, which is told.
    """
    called = _called(home, name)
    for path in itertools.chain(called, _sized(home, name)):
        if (content := _holds(path, name)) is not None:
            return content
    if not called:
        raise MissingDataError(f"there is no {name}, packed or not, in {home} or {home / 'raw'}{listed(home)}")
    raise CorruptDataError(
        f"{called[0]} is not the original MNIST file: {_told(called[0], name)}. Delete it to download it anew, or put "
        "a good copy in its place, packed by gzip or not."
    )


def listed(home: Path) -> str:
    """What lies there instead, for an error; empty if nothing does."""
    names = [str(path.relative_to(home)) for path in _files(home)]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"; found: {', '.join(names[:_MOST_LISTED])}{more}" if names else ""


def _entries(home: Path) -> list[Path]:
    found = (path for folder in (home / "raw", home) for depth in ("*", "*/*") for path in sorted(folder.glob(depth)))
    return list(dict.fromkeys(found))


def _files(home: Path) -> list[Path]:
    try:
        return [path for path in _entries(home) if path.is_file()]
    except OSError as error:
        raise unreadable(home, error) from None


def _called(home: Path, name: str) -> list[Path]:
    """Files of that name: with .gz or without, and with the dot that other sites have for the second hyphen.

    Behind them stand folders that are called so, in which the file may lie, or in whose place it should.
    """
    places = [*_files(home), *(path for path in _entries(home) if path.is_dir())]
    return [path for path in places if path.name.lower().removesuffix(".gz").replace(".idx", "-idx") == name]


def _sized(home: Path, name: str) -> Iterator[Path]:
    """Files of any name whose content has the right size; they are looked for only when asked for."""
    return (path for path in _files(home) if _unpacked_size(path) == CONTENTS[name].size)


def _unpacked_size(path: Path) -> int | None:
    """Bytes of a file's content, without unpacking it: a gzip file ends with that number (RFC 1952)."""
    try:
        with path.open("rb") as file:
            if file.read(len(GZIP)) != GZIP:
                return path.stat().st_size
            file.seek(-4, 2)
            return int.from_bytes(file.read(4), "little")
    except OSError:
        return None


def _holds(path: Path, name: str) -> bytes | None:
    """A file's content if it is that of `name`."""
    try:
        content = unpacked(path, CONTENTS[name].size)
    except CorruptDataError:
        return None
    return content if hashlib.sha256(content).hexdigest() == CONTENTS[name].sha256 else None


def _told(path: Path, name: str) -> str:
    """What a file holds instead of what its name says."""
    try:
        content = unpacked(path, max(each.size for each in CONTENTS.values()))
    except CorruptDataError as error:
        return str(error)
    digest = hashlib.sha256(content).hexdigest()
    if other := next((each for each, held in CONTENTS.items() if held.sha256 == digest), None):
        return f"it holds {other}"
    shape = announced_shape(content)
    return _other_file(content) if shape is None else _other_values(content, shape, CONTENTS[name])


def _other_file(content: bytes) -> str:
    if not content:
        return "it is empty"
    told = (what for beginning, what in _BEGINNINGS.items() if content.lstrip().startswith(beginning))
    return next(told, f"it is not an IDX file of unsigned bytes: it begins with {content[:4].hex()!r}")


def _other_values(content: bytes, shape: tuple[int, ...], expected: Content) -> str:
    announced, values = math.prod(shape), len(content) - 4 - 4 * len(shape)
    if values != announced:
        has = "more" if values > announced else f"{values:,}"
        return f"it announces {announced:,} values of shape {shape} and holds {has}"
    if len(content) != expected.size:
        return f"it holds values of shape {shape}"
    return (
        f"it has the right shape and other values (sha256 {hashlib.sha256(content).hexdigest()[:12]}..., expected "
        f"{expected.sha256[:12]}...): it is altered, or of another data set in this form, as Fashion-MNIST is"
    )
