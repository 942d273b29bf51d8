"""One process at a time in a folder; flock(2) says what a lock is."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from mcubench.errors import UserError
from mcubench.results.lock import alone_at, alone_in


def test_a_second_one_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with alone_in(tmp_path):
        with pytest.raises(UserError, match="another process is at work in"), alone_in(tmp_path):
            pass
        with pytest.raises(UserError, match="another process is at work in"), alone_in(tmp_path, shared=True):
            pass
    with alone_in(tmp_path, shared=True), alone_in(tmp_path, shared=True):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    told, tell = os.pipe()
    with alone_in(tmp_path):
        child = os.fork()
        if child == 0:
            os.write(tell, b"x")
            signal.pause()
            os._exit(0)
    try:
        os.read(told, 1)
        with alone_in(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with alone_in(tmp_path), alone_in(tmp_path):
        pass


def test_a_lock_beside_a_folder_is_waited_for_and_goes(tmp_path: Path) -> None:
    file = tmp_path / ".run.lock"
    order = []

    def second() -> None:
        with alone_at(file, wait=30):
            order.append("second")

    thread = threading.Thread(target=second)
    with alone_at(file, wait=0):
        with pytest.raises(UserError, match="another process is at work beside"), alone_at(file, wait=0):
            pass
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join()  # it has the file that was taken away while it waited, and makes another
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []
