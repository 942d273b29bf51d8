"""A program of its own, which `interpreters.smallest_arena` runs: the smallest arena that TFLite Micro starts in.

It takes the model from stdin, and from its words an arena that is not larger than the smallest one, and the alignment;
it prints the bytes. Where an arena is too small, the process may die: each is tried in a fork, and all forks share what
was imported.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable

__all__ = ["search"]

_RUNTIME = "tflite_micro.python.tflite_micro.runtime"


def search(starts: Callable[[int], bool], least: int) -> int:
    """The smallest number that starts, by halving, of those from `least` on; what is larger starts, too."""
    most = least
    while not starts(most):
        least, most = most + 1, 2 * most
    while least < most:
        middle = (least + most) // 2
        if starts(middle):
            most = middle
        else:
            least = middle + 1
    return most


def _starts(model: bytes, arena: int) -> bool:
    """Tries an arena in a fork of this process, which has no threads and nothing to tidy up."""
    pid = os.fork()
    if pid == 0:
        try:
            importlib.import_module(_RUNTIME).Interpreter.from_bytes(model, arena_size=arena)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


if __name__ == "__main__":
    importlib.import_module(_RUNTIME)  # once, before all forks
    content, (first, alignment) = sys.stdin.buffer.read(), map(int, sys.argv[1:])
    print(search(lambda count: _starts(content, count * alignment), -(-first // alignment)) * alignment)
