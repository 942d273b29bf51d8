"""Files and folders that belong to somebody else, also where tests run as root, whom no permissions stop."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3 of linux/capability.h
_OVERRIDING = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


@contextlib.contextmanager
def hidden_from_us(*paths: Path) -> Iterator[None]:
    """While it lasts, this thread can't read files and can't look into folders, whoever it runs as."""
    modes = [path.stat().st_mode for path in paths]
    for path in reversed(paths):
        path.chmod(0)
    try:
        with _as_anybody():
            yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


@contextlib.contextmanager
def _as_anybody() -> Iterator[None]:
    """Takes the rights of root's that go beyond permissions out of what is effective, and gives them back."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    before, less = (ctypes.c_uint32 * 6)(), (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; low, high
    for found in (before, less):
        assert libc.capget(header, found) == 0
    less[0] &= ~_OVERRIDING
    assert libc.capset(header, less) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0
