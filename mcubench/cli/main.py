"""The entry point: static answers first, then one verb; errors of the user's become one line and exit code 2."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from mcubench.cli.help import OVERVIEW, VERBS
from mcubench.cli.options.counts import count_of
from mcubench.cli.options.trust import guarded
from mcubench.cli.start_up import as_line, imports_kept
from mcubench.errors import UserError, did_you_mean
from mcubench.host_errors import host_error
from mcubench.stopping import EXIT_TERMINATED, Terminated, is_computing_still, terminated_as_error

__all__ = ["MODEL_FILES", "OF_FILES", "main"]

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

MODEL_FILES = (".tflite", ".onnx", ".keras", ".h5", ".pt2")
OF_FILES = (
    "profile",
    "quantize",
    "export",
    "parity",
    "emulate",
)  # run_X in mcubench.cli.files.X, if a file comes next

_OWN = {"parity": {"--seeds"}, "search": {"--folds"}}  # which fit has, too

_LIGHTNINGS = ("fit", "validate", "test", "predict")  # the others are run_X in mcubench.cli.verbs.X


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Words after the program's name; those of the process if not given.

    Returns:
        The exit code: 0 if all went well, 1 if parity found a difference, 2 for an error of the user's, 130 after
        Ctrl-C, 143 after SIGTERM.
    """
    with terminated_as_error():
        code = _exit_code(list(sys.argv[1:] if argv is None else argv), own_process=argv is None)
    if argv is None and is_computing_still():  # its libraries can't be taken apart under it
        sys.stdout.flush()
        os._exit(code)
    return code


def _exit_code(args: list[str], own_process: bool) -> int:
    """Runs one command, and says in a line how it ended if that was not well."""
    debug = "--debug" in args
    formats = warnings.formatwarning
    try:
        args = [arg for arg in args if arg != "--debug"]
        with contextlib.nullcontext() if "--trust" in args else guarded(args):
            code = _run([arg for arg in args if arg != "--trust"], own_process)
        sys.stdout.flush()  # now, when an error can still be told
        return code
    except KeyboardInterrupt:
        print("mcubench: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except Terminated:
        print("mcubench: terminated", file=sys.stderr)
        return EXIT_TERMINATED
    except BrokenPipeError:
        _discard_output()  # whoever read it has left
        return 1
    except Exception as error:
        told = error if isinstance(error, UserError) else host_error(error)
        if debug or told is None:
            raise
        print(f"mcubench: error: {' '.join(str(told).split())}", file=sys.stderr)
        try:
            sys.stdout.flush()
        except OSError:
            _discard_output()
        return EXIT_USER_ERROR
    finally:
        warnings.formatwarning = formats


def _discard_output() -> None:
    """Has nothing more be written to standard output, which python would do at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(args: list[str], own_process: bool) -> int:
    if not args or args[0] in ("-h", "--help", "help"):
        print(OVERVIEW, end="")
        return 0
    verb = args[0]
    if verb == "--version":
        from mcubench import __version__

        print(f"mcubench {__version__}")
        return 0
    if verb not in VERBS:
        what = "option before the verb" if verb.startswith("-") else "verb"
        raise UserError(
            f"there is no {what} {verb!r}.{did_you_mean(verb, VERBS)} There are {', '.join(VERBS)}; try --help."
        )
    several = {"--folds", "--seeds"} & {arg.partition("=")[0] for arg in args}
    several -= _OWN.get(verb, set())
    if several and verb != "fit":
        raise UserError(f"{min(several)} is an option of fit, not of {verb}")
    of_workers = {"--workers", "--scheduler"} & {arg.partition("=")[0] for arg in args}
    if of_workers and not several and verb != "compare":
        raise UserError(f"{min(of_workers)} is an option of fit --seeds, fit --folds and compare --suite")
    for each in several:
        count_of(each.removeprefix("--"), args)
    if "" not in sys.path:
        sys.path.append("")  # the installed script, unlike python -m, does not look in the working folder
    # torch's threads wait for each other busily, for a millisecond, which slows tiny models down several times on a
    # machine that does something else too; not at all would have them woken up for each operation. Some 30 microseconds
    # are enough between two operations. The OpenMP library (libgomp) reads this when torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    of_file = verb in OF_FILES and len(args) > 1 and not args[1].startswith("-")
    if verb in OF_FILES and not of_file:
        _check_no_file_behind(args)
    with imports_kept() if own_process else contextlib.nullcontext():
        run = _imported_for_file(verb) if of_file else _imported(verb, several)
    warnings.formatwarning = as_line  # now, as lightning brings a form of its own
    return run(args[1:]) or 0


def _check_no_file_behind(args: Sequence[str]) -> None:
    """Sees that no model file stands behind options: it is what the verb is about, and comes first.

    Raises:
        UserError: If one does.
    """
    for before, word in itertools.pairwise(args):
        if not before.startswith("-") and Path(word).suffix.lower() in MODEL_FILES:
            raise UserError(f"the file comes first, then options: {args[0]} {word} ...")


def _imported_for_file(verb: str) -> Callable[[list[str]], int | None]:
    """What runs a verb about a file."""
    run: Callable[[list[str]], int | None]
    run = getattr(importlib.import_module(f"mcubench.cli.files.{verb}"), f"run_{verb}")
    return run


def _imported(verb: str, options: set[str]) -> Callable[[list[str]], int | None]:
    """What runs a verb, with all that it needs."""
    if verb != "compare":  # which needs no torch, except for a suite
        from mcubench._compat import mend_torchvision

        mend_torchvision()
    several = next((each for each in ("seeds", "folds") if f"--{each}" in options), None)
    if several is not None or verb not in _LIGHTNINGS:
        room, name = ("verbs", verb) if several is None else ("fitting", several)
        run: Callable[[list[str]], int | None]
        run = getattr(importlib.import_module(f"mcubench.cli.{room}.{name}"), f"run_{name}")
        return run
    from mcubench.cli.fitting.lightning import run_verb

    return functools.partial(run_verb, verb)
