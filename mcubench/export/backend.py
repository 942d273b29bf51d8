"""Packages that exports need, imported late; their absence is one clear sentence."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from mcubench.errors import UserError

__all__ = ["installed", "load", "names_of"]


def load(module: str) -> Any:
    """Imports a module of the ``export`` extra.

    Raises:
        UserError: If its package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise UserError(f"this needs the package {missing.partition('.')[0]}: pip install mcubench[export]") from None


def names_of(enumeration: Any) -> dict[int, str]:
    """The names of an enumeration of a generated schema, by what they stand for."""
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    return importlib.util.find_spec(package) is not None
