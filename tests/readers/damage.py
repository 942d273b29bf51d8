"""Files that are truncated or altered by chance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mcubench.errors import UserError

__all__ = ["damaged"]


def damaged(file: bytes, read: Callable[[bytes], object], tries: int = 100) -> int:
    """Reads a file truncated at so many places, and altered so often; returns how many are refused with a line.

    Whatever else is raised goes on.
    """
    generator, refused = np.random.default_rng(0), 0
    for size in np.linspace(0, len(file) - 1, tries).astype(int):
        refused += _is_refused(file[:size], read)
    for _ in range(tries):
        content = np.frombuffer(file, np.uint8).copy()
        content[generator.integers(0, len(content), 3)] = generator.integers(0, 256, 3)
        refused += _is_refused(content.tobytes(), read)
    return refused


def _is_refused(content: bytes, read: Callable[[bytes], object]) -> bool:
    try:
        read(content)
    except UserError as error:
        return bool(str(error))
    return False
