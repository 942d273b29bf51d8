"""How a process is asked to stop: by Ctrl-C, or by SIGTERM as SLURM, timeout and docker send it."""

from __future__ import annotations

import contextlib
import contextvars
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from types import FrameType
from typing import Any, TypeVar

__all__ = [
    "EXIT_TERMINATED",
    "STOPS",
    "Terminated",
    "in_background",
    "is_computing_still",
    "stopped_by",
    "terminated_as_error",
]

EXIT_TERMINATED = 143  # 128 + SIGTERM, as shells have it

T = TypeVar("T")


class Terminated(SystemExit):
    """SIGTERM has come. What nobody catches ends the process with 143."""

    def __init__(self) -> None:
        super().__init__(EXIT_TERMINATED)


STOPS = (KeyboardInterrupt, Terminated)

# Seconds between two looks at signals: one that comes in the moment before the main thread waits does not wake it.
_LOOKS = 0.25

_left: list[threading.Thread] = []


def stopped_by(number: int) -> BaseException:
    """What a signal, SIGINT or SIGTERM, raises."""
    return Terminated() if number == signal.SIGTERM else KeyboardInterrupt()


def _raise(number: int, _: FrameType | None) -> None:
    raise stopped_by(number)


@contextlib.contextmanager
def terminated_as_error() -> Iterator[None]:
    """Has SIGTERM raise `Terminated` in the block, so that it leaves no half-written files; unless it is handled yet.

    The first process of a container would not even be ended by it.
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    with _raising(signal.SIGTERM):
        yield


@contextlib.contextmanager
def _raising(*numbers: signal.Signals) -> Iterator[None]:
    """Has signals raise at once in the block; in the main thread, which is the only one that gets any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _raise) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_background(compute: Callable[[], T]) -> T:
    """Computes in a thread of its own, which Ctrl-C and SIGTERM leave at once.

    Python handles signals in the main thread, between two instructions: a library that computes there for minutes keeps
    them waiting. The thread that is left computes on, unheard, until the process ends. In other threads than the main
    one, which get no signals, this just computes.

    Args:
        compute: What to compute, with the context variables of here (numpy's handling of errors is one).

    Returns:
        What it returns; what it raises is raised here.

    Raises:
        KeyboardInterrupt: After Ctrl-C.
        Terminated: After SIGTERM.
    """
    if threading.current_thread() is not threading.main_thread():
        return compute()
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(compute())
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(run,), daemon=True)
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if _is_handled(signal.getsignal(number))]
    with _raising(*handled):
        try:
            thread.start()
            while not wait([outcome], _LOOKS).done:
                pass
            return outcome.result()
        except STOPS:
            _left.append(thread)
            raise


def _is_handled(handler: Any) -> bool:
    """Whether a signal is neither ignored nor left to the system."""
    return callable(handler)


def is_computing_still() -> bool:
    """Whether something that was left in the background computes on, so that its libraries can't be taken apart."""
    return any(thread.is_alive() for thread in _left)
