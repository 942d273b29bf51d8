"""What all processes of ours begin with: warnings as lines, and what makes them start, and end, sooner."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["as_line", "imports_kept"]


@contextlib.contextmanager
def imports_kept() -> Iterator[None]:
    """Spares what is imported inside the garbage collector, for good.

    Torch and Lightning make hundreds of thousands of objects, which live as long as the process. The collector would
    go through them again and again, while they are made and once more at exit. For processes of our own only: whatever
    else is alive is spared, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def as_line(message: Warning | str, *_: object, **__: object) -> str:
    """A warning as people read it, without the line of code that it comes from."""
    return f"mcubench: warning: {' '.join(str(message).split())}\n"
