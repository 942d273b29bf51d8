"""A space in a YAML file: options of ``fit`` by their path, and what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcubench.bounded_yaml import read_yaml
from mcubench.errors import UserError
from mcubench.search.space import Choice, Dimension, Number, Space, Whole

__all__ = ["FORMS", "read_space"]

FORMS = "{int: [4, 64]}, {float: [1.0e-4, 1.0e-1], log: true} or {choice: [relu, relu6]}"
_RANGES: dict[str, type[Whole | Number]] = {"int": Whole, "float": Number}
_PARTS = ("model.", "data.", "trainer.")
_BITS = "weight_bits"


def read_space(path: Path) -> Space:
    """Reads a space.

    Args:
        path: The file: a line an option, as in ``model.channels: {int: [4, 64], log: true}``.

    Raises:
        UserError: If it can't be read, names something that is no option's path, or says something else of one.
    """
    content = read_yaml(path, f"space {path}")
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"space {path}: it must have a line an option, as model.channels: {FORMS}; got {content!r}")
    return {str(name): _dimension(path, str(name), value) for name, value in content.items()}


def _dimension(path: Path, name: str, content: Any) -> Dimension:
    where = f"space {path}: {name}"
    if name != _BITS and not name.startswith(_PARTS):
        raise UserError(f"{where}: options begin with {', '.join(_PARTS)}, or it is {_BITS}")
    given = dict(content) if isinstance(content, Mapping) else {}
    log = given.pop("log", False)
    if len(given) != 1 or not isinstance(log, bool):
        raise UserError(f"{where} must be {FORMS}; got {content!r}")
    ((kind, values),) = given.items()
    if not isinstance(values, list) or kind not in (*_RANGES, "choice") or (kind in _RANGES and len(values) != 2):
        raise UserError(f"{where} must be {FORMS}; got {content!r}")
    if kind == "choice" and "log" in content:
        raise UserError(f"{where}: log is for int and float")
    try:
        return Choice(tuple(values)) if kind == "choice" else _RANGES[kind](values[0], values[1], log)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
