"""How a process is asked to stop, and what is left in the background.

References: the exit codes of shells (128 and the signal's number), and what python's own handlers do.
"""

from __future__ import annotations

import decimal
import os
import signal
import threading
import time

import pytest

from mcubench import stopping
from mcubench.stopping import Terminated, in_background, is_computing_still, terminated_as_error

STOPS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


def test_sigterm_is_an_exit_with_the_code_of_shells() -> None:
    with pytest.raises(SystemExit) as caught, terminated_as_error():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_the_users_own_handler_of_sigterm_stays() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with terminated_as_error():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


@pytest.mark.parametrize(("number", "error"), STOPS)
def test_what_computes_in_the_background_is_left_at_once(
    number: signal.Signals, error: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "_left", [])
    computing, goes_on = threading.Event(), threading.Event()

    def compute() -> None:
        computing.set()
        goes_on.wait(30)

    def press() -> None:
        computing.wait(30)
        os.kill(os.getpid(), number)

    before = signal.signal(number, lambda *_: None)  # as a callback that waits for the step to end
    watched = signal.getsignal(number)
    begun = time.monotonic()
    try:
        threading.Thread(target=press).start()
        with pytest.raises(error):
            in_background(compute)
        assert time.monotonic() - begun < 20
        assert is_computing_still()
        assert signal.getsignal(number) is watched
    finally:
        signal.signal(number, before)
        goes_on.set()
    (thread,) = stopping._left
    thread.join(30)
    assert not is_computing_still()


def test_the_background_is_as_here() -> None:
    """Context variables go with it, and so do what it returns and raises."""
    with decimal.localcontext() as context:
        context.prec = 5
        assert in_background(lambda: decimal.Decimal(1) / 3) == decimal.Decimal("0.33333")
    assert in_background(threading.current_thread) is not threading.main_thread()
    with pytest.raises(ZeroDivisionError) as caught:
        in_background(lambda: 1 // 0)
    assert caught.traceback[-1].name == "<lambda>", "the traceback leads to where it was raised"


def test_another_thread_computes_by_itself() -> None:
    """It gets no signals, and may not handle any."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(in_background(threading.current_thread) is thread))
    thread.start()
    thread.join()
    assert found == [True]
