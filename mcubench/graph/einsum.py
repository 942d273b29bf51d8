"""Equations of einsum, with everything written out."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence

__all__ = ["explicit"]


def explicit(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Labels of each operand and of the result, with letters for ``...`` and with the result if it was left out.

    Args:
        equation: As torch.einsum takes it.
        ranks: Number of axes of each operand.

    Returns:
        One letter an axis, for each operand and for the result.

    Example:
        >>> explicit("...ij,jk", [3, 2])
        (['Zij', 'jk'], 'Zik')
    """
    terms, arrow, out = equation.replace(" ", "").partition("->")
    labels = terms.split(",")
    hidden = [rank - len(term) + 3 if "..." in term else 0 for term, rank in zip(labels, ranks, strict=True)]
    unused = [letter for letter in reversed(string.ascii_letters) if letter not in equation]
    around = "".join(unused[: max(hidden)])  # the ones that broadcast are aligned at their ends
    written = [term.replace("...", around[len(around) - count :]) for term, count in zip(labels, hidden, strict=True)]
    if not arrow:
        times = Counter("".join(terms.replace(".", "").replace(",", "")))
        out = "..." * bool(around) + "".join(sorted(label for label, count in times.items() if count == 1))
    return written, out.replace("...", around)
