"""The errors that are the user's to mend.

The command line prints them as one line and exits with code 2; to code they are ordinary ``ValueError``s.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BudgetExceededError",
    "CorruptDataError",
    "MissingDataError",
    "TraceError",
    "UnreadableError",
    "UserError",
    "did_you_mean",
]


class UserError(ValueError):
    """A mistake that the user can mend: it says what was wrong, what is allowed and what to do."""


class MissingDataError(UserError):
    """A data set was not found, and could not be fetched."""


class CorruptDataError(UserError):
    """A file is not what it should be: truncated, altered, or of another format."""


class UnreadableError(UserError):
    """A file or folder is there, and the system does not give it out: to this user, or to anybody."""


class BudgetExceededError(UserError):
    """A model needs more than its budget allows, or what it needs is not known."""


class TraceError(UserError):
    """A module that can't be traced: its own forward fails, or depends on values in a way that has no fixed graph."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` for the known word closest to `word`, or an empty string if none is close."""
    by_lower = {name.lower(): name for name in known}
    match = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean {by_lower[match[0]]!r}?" if match else ""
