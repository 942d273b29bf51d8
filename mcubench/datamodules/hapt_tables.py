"""HAPT's text files: whitespace-separated numbers, and what is wrong with a file that has something else."""

from __future__ import annotations

import io
import math
import warnings

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import CorruptDataError

__all__ = ["first_fault", "parse_table"]


def parse_table(content: bytes, name: str, columns: int) -> NDArray[np.float64]:
    """Parses a table.

    Args:
        content: The file's content.
        name: What it is called in an error.
        columns: How many finite numbers stand in each line.

    Returns:
        Shape (lines, columns); empty lines do not count.

    Raises:
        CorruptDataError: If the file holds something else; it is named, with the line.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an empty file is a warning to numpy
            table = np.loadtxt(io.BytesIO(content), dtype=np.float64, comments=None, ndmin=2)
    except (ValueError, UserWarning):
        table = None
    if table is None or table.shape[1] != columns or not np.isfinite(table).all():
        fault = first_fault(content, columns)
        raise CorruptDataError(f"{name}, {fault}" if fault else f"{name} is not a table of numbers")
    return table


def first_fault(content: bytes, columns: int | None = None) -> str | None:
    """Finds the first line that is not finite numbers, `columns` of them (not given: as many as in the first line).

    Returns:
        The line, from 1, and what is wrong with it; ``None`` if nothing is.
    """
    empty = True
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.split()
        if not words:
            continue
        empty = False
        for column, word in enumerate(words, 1):
            try:
                finite = math.isfinite(float(word))
            except ValueError:
                return f"line {number}, column {column}: {word[:40]!r} is not a number"
            if not finite:
                return f"line {number}, column {column}: {word} is not a finite number"
        columns = columns or len(words)
        if len(words) != columns:
            return f"line {number}: {len(words)} columns, expected {columns}"
    return "line 1: the file is empty" if empty else None
