"""The files that a command writes beside what it prints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mcubench.errors import UserError
from mcubench.host_errors import check_writable

__all__ = ["check_targets", "write_targets"]


class Options(Protocol):
    """Values of options by their names, of whatever parser."""

    def __getitem__(self, name: str, /) -> Any: ...


def check_targets(config: Options, suffixes: dict[str, str | None]) -> None:
    """Sees before the work that what is asked for can be written.

    Args:
        config: The options.
        suffixes: The options that name files, each with how their names must end, if they must.

    Raises:
        UserError: If a file can't be what the option says.
    """
    targets = {name: Path(config[name]).absolute() for name in suffixes if config[name]}
    for name, target in targets.items():
        check_writable(Path(config[name]), f"--{name}")
        if list(targets.values()).count(target) > 1:
            raise UserError(f"--{name} {config[name]}: every output needs a file of its own")
        suffix = suffixes[name]
        if suffix and target.suffix != suffix:
            raise UserError(f"--{name} {config[name]}: its name must end in {suffix}; got {target.name}")


def write_targets(config: Options, writers: Mapping[str, Callable[[Path], None]]) -> list[Path]:
    """Writes the files that were asked for.

    Args:
        config: The options.
        writers: What writes each, by the option that names the file.

    Returns:
        The files written.

    Raises:
        UserError: If one can't be written.
    """
    written = []
    for name, write in writers.items():
        if not config[name]:
            continue
        target = Path(config[name])
        try:
            write(target)
        except OSError as error:
            raise UserError(f"--{name} {target} can't be written: {error.strerror or error}") from error
        written.append(target)
    return written
