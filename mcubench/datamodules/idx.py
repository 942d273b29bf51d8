"""The IDX format of the original MNIST files, packed by gzip or not."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import CorruptDataError

__all__ = ["GZIP", "announced_shape", "parse_idx", "read_idx", "unpacked"]

GZIP = b"\x1f\x8b"  # what every gzip file begins with (RFC 1952)
_UNSIGNED_BYTE = 0x08  # the IDX type code


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads an IDX file of unsigned bytes; whether it is packed by gzip is seen from its content, not its name.

    The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, a type code, the number of dimensions, each
    dimension as a big-endian 32-bit integer, then the values in C order.

    Args:
        path: The file.

    Returns:
        The values, in the file's own shape.

    Raises:
        CorruptDataError: If the file can't be read, is truncated or is not IDX of unsigned bytes.
    """
    try:
        return parse_idx(unpacked(path))
    except CorruptDataError as error:
        raise CorruptDataError(f"{path}: {error}") from None


def unpacked(path: Path, most: int | None = None) -> bytes:
    """A file's content, unpacked if gzip has packed it.

    Args:
        path: The file.
        most: Read no more than one byte beyond so many: enough to see that there is more.

    Raises:
        CorruptDataError: If it can't be read or unpacked; the text says why, without the path.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(GZIP)) == GZIP
            file.seek(0)
            source = gzip.GzipFile(fileobj=file) if packed else file
            return source.read(-1 if most is None else most + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptDataError(f"it is not a whole gzip file: {error}") from None
    except OSError as error:
        raise CorruptDataError(f"it can't be read: {error.strerror or error}") from None


def announced_shape(content: bytes) -> tuple[int, ...] | None:
    """The shape in an IDX file's header; ``None`` if it is not IDX of unsigned bytes, or its header is cut."""
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        return None
    dimensions = content[3]
    if not dimensions or len(content) < 4 + 4 * dimensions:
        return None
    return struct.unpack_from(f">{dimensions}I", content, 4)


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Parses the content of an IDX file of unsigned bytes, unpacked.

    Raises:
        CorruptDataError: If it is something else, or has more or fewer values than it announces.
    """
    shape = announced_shape(content)
    if shape is None:
        raise CorruptDataError(f"it is not a whole IDX file of unsigned bytes: it begins with {content[:4].hex()!r}")
    header = 4 + 4 * len(shape)
    if len(content) - header != np.prod(shape, dtype=np.int64):
        raise CorruptDataError(f"it announces shape {shape} but holds {len(content) - header} values")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
