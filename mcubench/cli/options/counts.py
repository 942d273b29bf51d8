"""How often a fit is asked for, by ``--folds`` and ``--seeds``, and of whom: known before anything is imported."""

from __future__ import annotations

from collections.abc import Sequence

from mcubench.errors import UserError

__all__ = ["count_of", "workers_of"]

_MOST = 10_000  # each is a training of its own
_HINTS = {
    "folds": "As many as there are subjects, with a split by subject, is leave-one-subject-out",
    "seeds": "The first is --seed_everything, by default 0",
}


def _without_option(args: Sequence[str], name: str) -> tuple[list[str], str]:
    """The other words, and the option's last value; empty if it has none."""
    rest, value, pending = [], "", False
    for arg in args:
        option, equals, given = arg.partition("=")
        if pending or option == name:
            value = arg if pending else given
            pending = not pending and not equals
        else:
            rest.append(arg)
    return rest, value


def count_of(what: str, args: Sequence[str]) -> tuple[list[str], int]:
    """The other words, and how many folds or seeds there are to be.

    Args:
        what: ``folds`` or ``seeds``.
        args: All words.

    Raises:
        UserError: If it is no number, below 2, or more than can be meant.
    """
    rest, value = _without_option(args, f"--{what}")
    digits = value if value.isdecimal() and len(value) <= len(str(_MOST)) else "0"
    if not 2 <= int(digits) <= _MOST:
        raise UserError(f"--{what} must be a number of {what}, 2 to {_MOST:,}; got {value!r}. {_HINTS[what]}")
    return rest, int(digits)


def workers_of(args: Sequence[str]) -> tuple[list[str], str | None, str | None]:
    """The other words, and the values of ``--workers`` and ``--scheduler``.

    Args:
        args: All words.

    Raises:
        UserError: If both are given: they are two clusters.
    """
    given = {arg.partition("=")[0] for arg in args}
    rest, number = _without_option(args, "--workers")
    rest, scheduler = _without_option(rest, "--scheduler")
    if {"--workers", "--scheduler"} <= given:
        raise UserError("--workers are this machine's, --scheduler has its own: give one of the two")
    return rest, number if "--workers" in given else None, scheduler if "--scheduler" in given else None
