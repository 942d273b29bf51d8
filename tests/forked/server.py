"""Imports what most of our processes import, and forks a process of its own for each task.

Run as a script with the descriptor of a connection, and the names of what is imported. A forked process begins where
``python`` begins: with its own words, folder, environment, files, signals and ``__main__``. A process between it and
the server waits for it and tells how it ended, so that the server itself waits for nothing but tasks.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import random
import runpy
import signal
import socket
import sys
import threading
import types
from pathlib import Path
from typing import NoReturn

__all__: list[str] = []

_FILES = 4  # stdin, stdout, stderr, and where to tell how the process ended


def _serve(connection: socket.socket) -> wire.Task | None:
    """Returns a task in the process that is to do it, and ``None`` in the server when all is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for those that are forked, and for who has asked for them
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while (received := wire.receive(connection, _FILES)) is not None:
        task, files = received
        if os.fork() == 0:
            connection.close()
            if _forked(files):
                return task
        for each in files:
            os.close(each)
    return None


def _forked(files: list[int]) -> bool:
    """True in a process that has these files as its own; another one waits for it, tells how it ended, and ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *standard, told = files
    pid = os.fork()
    if pid:
        for each in standard:
            os.close(each)
        with socket.socket(fileno=told) as teller, contextlib.suppress(BrokenPipeError):  # nobody may ask any more
            wire.send_number(teller, pid)
            _, status = os.waitpid(pid, 0)
            wire.send_number(teller, os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(told)
    for target, each in enumerate(standard):
        os.dup2(each, target)
        os.close(each)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return True


def _begin(task: wire.Task) -> None:
    """Has this process be as ``python`` makes one."""
    os.chdir(task.folder)
    os.environ.clear()
    os.environ.update(task.environment)
    mode, *words = task.words
    sys.argv = words if mode in ("-m", "-c") else task.words
    sys.orig_argv = [sys.executable, *task.words]
    first = {"-m": task.folder, "-c": ""}.get(mode) if mode.startswith("-") else str(Path(mode).resolve().parent)
    given = [each for each in task.environment.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:] = [str(first), *given, *_PATH]
    sys.dont_write_bytecode = bool(task.environment.get("PYTHONDONTWRITEBYTECODE"))
    importlib.invalidate_caches()
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    for each in given:
        if (Path(each) / "sitecustomize.py").is_file():
            runpy.run_path(str(Path(each) / "sitecustomize.py"))


def _run(task: wire.Task) -> None:
    """Runs a module, code or a script as ``__main__``."""
    mode, *words = task.words
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if mode == "-m":
        runpy._run_module_as_main(words[0])  # what python does
    elif mode == "-c":
        sys.argv = ["-c", *words[1:]]
        exec(compile(words[0], "<string>", "exec"), main.__dict__)
    else:
        main.__dict__["__file__"] = mode
        exec(compile(Path(mode).read_bytes(), mode, "exec"), main.__dict__)


def _exit_code(task: wire.Task) -> int:
    """Does a task, and says what python's exit code would be."""
    try:
        _run(task)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        print(error.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    return 0


def _end(code: int) -> NoReturn:
    """Ends as python does, but takes nothing apart, for which all shared memory would be copied."""
    threading._shutdown()  # waits for threads
    atexit._run_exitfuncs()
    for each in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed
            each.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    _given = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    _PATH = [each for each in sys.path[1:] if each not in _given]
    import wire  # not as a part of `tests`, which a process that is forked must not have imported

    del sys.path[0], sys.modules["wire"]
    gc.disable()
    for _name in sys.argv[2:]:
        importlib.import_module(_name)
    gc.freeze()
    gc.enable()
    _threads = len(list(Path("/proc/self/task").iterdir()))
    assert _threads == 1, f"a process with {_threads} threads can't be forked: what they hold would be held for ever"
    _task = _serve(socket.socket(fileno=int(sys.argv[1])))
    if _task is not None:
        _begin(_task)
        _end(_exit_code(_task))
