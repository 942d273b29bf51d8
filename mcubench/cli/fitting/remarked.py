"""What a fit warns of and logs, taken down beside what is printed of it: k fits would say it k times."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator

__all__ = ["remarked"]


@contextlib.contextmanager
def remarked(take: Callable[[str, str | None], None]) -> Iterator[None]:
    """Takes down what is warned of and logged.

    Args:
        take: Takes a remark, and what remarks that differ in details have in common, if that is known.
    """

    class Listener(logging.StreamHandler):  # type: ignore[type-arg]
        def emit(self, record: logging.LogRecord) -> None:
            super().emit(record)
            take(record.getMessage(), str(record.msg))

    logger, listener = logging.getLogger("mcubench"), Listener()
    logger.addHandler(listener)
    try:
        with warnings.catch_warnings():
            show = warnings.showwarning

            def listen(message: Warning | str, *rest: object) -> None:
                show(message, *rest)  # type: ignore[arg-type]
                take(str(message), None)

            warnings.showwarning = listen  # type: ignore[assignment]
            yield
    finally:
        logger.removeHandler(listener)
