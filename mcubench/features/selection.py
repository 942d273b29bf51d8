"""Which features to compute: by signal, by statistic, by both, or by name."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from mcubench.errors import UserError, did_you_mean
from mcubench.features.catalogue import Column, columns

__all__ = ["Terms", "select"]

Terms = Iterable[str | Column] | str | None


def select(terms: Terms) -> tuple[Column, ...]:
    """Chooses columns.

    Args:
        terms: Each a signal (``tBodyAcc``), a statistic (``mean``), both (``tBodyAcc-mean``) or a column
            (``tBodyAcc-mean-X``, or the `Column` itself), in any case, with ``*`` and ``?``: ``f*-energy`` is the
            energy of all spectra. One text may name several, with commas. What any term names is taken. ``None`` takes
            all 561.

    Returns:
        The columns, each once, in the order of features.txt.

    Raises:
        UserError: If a term names nothing, or there is none.
    """
    if terms is None:
        return columns()
    if isinstance(terms, str):
        terms = [term.strip() for term in terms.strip("[] ").split(",")]
    chosen: set[Column] = set()
    for term in terms:
        if isinstance(term, Column):
            chosen.add(term)
            continue
        found = {column for column in columns() if any(fnmatchcase(name, term.lower()) for name in _names(column))}
        if not found:
            raise UserError(
                f"no feature is named {term!r}.{did_you_mean(term, _known())} Name signals (tBodyAcc), statistics "
                "(mean), both (tBodyAcc-mean) or columns (tBodyAcc-mean-X); * and ? stand for any letters"
            )
        chosen |= found
    if not chosen:
        raise UserError("features is empty: leave it out to take all 561, or name some")
    return tuple(sorted(chosen, key=lambda column: column.index))


def _names(column: Column) -> tuple[str, ...]:
    names = column.signal, column.statistic, f"{column.signal}-{column.statistic}", column.name
    return tuple(name.lower() for name in names)


def _known() -> list[str]:
    single = {name for column in columns() for name in (column.signal, column.statistic)}
    both = {f"{column.signal}-{column.statistic}" for column in columns()}
    return [*sorted(single), *sorted(both), *(column.name for column in columns())]
