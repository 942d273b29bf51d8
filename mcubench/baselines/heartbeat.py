"""A sign of life from a long computation that shows none of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

__all__ = ["heartbeat"]


@contextlib.contextmanager
def heartbeat(what: str, every: float = 10.0) -> Iterator[None]:
    """Prints what is done and for how long, again and again until the block ends.

    Args:
        what: What is done.
        every: Seconds between two lines.
    """
    done, begun = threading.Event(), time.perf_counter()

    def beat() -> None:
        while not done.wait(every):
            print(f"{what}: {time.perf_counter() - begun:.0f} s", flush=True)  # a live bar stays below it

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
