"""The packages of the extra ``target``, imported where they are used."""

from __future__ import annotations

import importlib
from types import ModuleType

from mcubench.errors import UserError

__all__ = ["PACKAGES", "load"]

PACKAGES = ("ziglang", "unicorn", "elftools", "capstone")  # their modules


def load(name: str) -> ModuleType:
    """Imports a package that compiling or emulating needs.

    Args:
        name: Of a module.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"emulating needs the package {name.partition('.')[0]}, which can't be imported: pip install "
            "'mcubench[target]'"
        ) from error
