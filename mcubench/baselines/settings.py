"""scikit-learn's settings, which each thread has for itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sklearn

__all__ = ["with_settings"]

T = TypeVar("T")


def with_settings(compute: Callable[[], T]) -> Callable[[], T]:
    """The same computation with the settings of the thread that this is called in, whichever it then runs in."""
    settings = sklearn.get_config()

    def run() -> T:
        with sklearn.config_context(**settings):
            return compute()

    return run
