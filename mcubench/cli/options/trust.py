"""Whose code a command may run: not that which came with a run or a configuration, unless it is trusted."""

from __future__ import annotations

import contextlib
import functools
import importlib.abc
import importlib.machinery
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mcubench.cli.options.makers import maker_at, returned
from mcubench.errors import UserError
from mcubench.results.run_folder import shown

__all__ = ["guarded", "guards", "trusts_all"]

_guard: ContextVar[_Guard | None] = ContextVar("_guard", default=None)


@contextlib.contextmanager
def guarded(args: Sequence[str]) -> Iterator[None]:
    """Keeps code that came with a configuration from being imported while one command runs.

    Args:
        args: The words of the command; what is named there is the user's own.

    Raises:
        UserError: If such code was to be imported, whatever became of that in between.
    """
    guard = _Guard(args)
    token = _guard.set(guard)
    sys.meta_path.insert(0, guard)
    try:
        yield
    except Exception as error:
        if guard.refused is not None:
            raise guard.refused from error
        raise
    finally:
        sys.meta_path.remove(guard)
        _guard.reset(token)


def trusts_all() -> bool:
    """Whether the command that runs was given ``--trust``."""
    return _guard.get() is None


def guards(path: Path, content: object, run: bool = False) -> None:
    """Has the command, from now on, run no code that came with a configuration.

    That is what lies below the first folder on the way to it from where the command was started; outside of that, what
    lies in its own folder, and for a run in the folder of all runs. What lies beside it where the command was started
    is the user's own, unless that is the run itself.

    Args:
        path: The file.
        content: What it says, and names.
        run: Whether it was found as a run's, and not given by name.

    Raises:
        UserError: If it has a function called that may do anything.
    """
    guard = _guard.get()
    if guard is None:  # all is trusted
        return
    run = run or (path.parent / "checkpoints").is_dir()
    guard.configurations[path] = _Configuration(path, frozenset(_texts(content)), _came_with(path.absolute(), run))
    section = content.get("model") if isinstance(content, dict) else None
    if isinstance(section, dict):
        _check_maker(path, section.get("class_path"))
        _check_maker(path, (section.get("init_args") or {}).get("net"))


def _check_maker(config: Path, name: object) -> None:
    """Sees that a function that makes a model does only that: those of installed packages say that they return one."""
    from torch import nn

    found = maker_at(name) if isinstance(name, str) else None
    function = found.func if isinstance(found, functools.partial) else found
    if not callable(function) or isinstance(function, (type, nn.Module)) or not _is_installed(function):
        return
    if (given := returned(function)) is None or not issubclass(given, nn.Module):
        raise UserError(
            f"{shown(config)} has {name} called, a function that does not say that it returns a module: see what it "
            "does, then give --trust; or name it on the command line, by --model"
        )


def _is_installed(function: object) -> bool:
    file = getattr(sys.modules.get(getattr(function, "__module__", None) or ""), "__file__", None)
    installed = {sysconfig.get_path(each) for each in ("stdlib", "platstdlib", "purelib", "platlib")}
    return file is None or any(Path(file).is_relative_to(folder) for folder in installed)


@dataclass(frozen=True)
class _Configuration:
    """A configuration, what it names, and the folder of what came with it, if there is one."""

    path: Path
    names: frozenset[str]
    folder: Path | None

    def brought(self, file: Path) -> bool:
        """Whether a file came with it."""
        if self.folder is None:
            return False
        return file.is_relative_to(self.folder) or file.resolve().is_relative_to(self.folder.resolve())


class _Guard(importlib.abc.MetaPathFinder):
    """Stands before all other finders of modules.

    Attributes:
        configurations: By the path of the file.
        refused: The error for the first class that was refused.
    """

    def __init__(self, args: Sequence[str]) -> None:
        self.configurations: dict[Path, _Configuration] = {}
        self.refused: UserError | None = None
        self._typed = [arg.partition("=")[2] or arg for arg in args]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Nothing, so that others look for it, unless what they would find came with a configuration.

        Raises:
            ModuleNotFoundError: If it did, and there is no other of that name.
        """
        spec = self._found(fullname, path) if self.configurations else None
        if spec is None or spec.origin is None or (came_with := self._bringing(spec.origin)) is None:
            return None
        if any(f"{typed}.".startswith(f"{fullname}.") for typed in self._typed):
            del self.configurations[came_with.path]
            return None
        for each in sys.path if path is None else ():  # a file must not stand in for a package of its name
            other = self._found(fullname, [each])
            if other is not None and other.origin is not None and self._bringing(other.origin) is None:
                return other
        named = next((name for name in sorted(came_with.names) if name.startswith(f"{fullname}.")), None)
        error = UserError(
            f"{shown(came_with.path)} names {named}, whose code came with it, in {shown(Path(spec.origin))}, and is "
            "not run: read it, then give --trust; or move it out, to the folder in which you start the command"
        )
        if named is not None:
            self.refused = self.refused or error
        raise ModuleNotFoundError(f"{spec.origin} came with {came_with.path}, and is not run", name=fullname)

    @staticmethod
    def _found(fullname: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.PathFinder.find_spec(fullname, path)

    def _bringing(self, origin: str) -> _Configuration | None:
        file = Path(origin).absolute()
        return next((each for each in self.configurations.values() if each.brought(file)), None)


def _came_with(config: Path, run: bool) -> Path | None:
    start, folder = Path.cwd(), config.parent
    own = folder if run else None
    if folder.is_relative_to(start):
        below = folder.relative_to(start).parts
        return start / below[0] if below else own
    widest = folder.parent if run else folder
    return own if start.is_relative_to(widest) else widest


def _texts(content: Any) -> Iterator[str]:
    """All values that are text."""
    if isinstance(content, str):
        yield content
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for each in parts:
        yield from _texts(each)
