"""Where exports are written: one folder, or a file that ``--output`` names."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mcubench.errors import UserError
from mcubench.results.run_folder import config_of

__all__ = ["Format", "Target", "target_of"]

Format = Literal["tflite", "tflm", "c", "onnx", "keras"]

_SUFFIXES: dict[Format, tuple[str, ...]] = {
    "tflite": (".tflite",),
    "tflm": (".c", ".h"),
    "onnx": (".onnx",),
    "keras": (".keras",),
}


@dataclass(frozen=True)
class Target:
    """Where the files of an export go.

    Attributes:
        folder: Their folder.
        stem: Their name, but for the suffix.
    """

    folder: Path
    stem: str

    def file(self, suffix: str) -> Path:
        """The file with a suffix, which begins with a dot."""
        return self.folder / f"{self.stem}{suffix}"

    def files(self, chosen: Format) -> list[Path]:
        """The files of a format; of C, which is a folder, none."""
        return [self.file(suffix) for suffix in _SUFFIXES.get(chosen, ())]

    @property
    def c_folder(self) -> Path:
        """The folder of C."""
        return self.folder / f"{self.stem}_c"

    @property
    def names(self) -> set[str]:
        """The names of all that any format writes into the folder."""
        suffixes = {".json", *itertools.chain.from_iterable(_SUFFIXES.values())}
        return {self.c_folder.name, *(f"{self.stem}{suffix}" for suffix in suffixes)}


def target_of(output: str | None, formats: Sequence[Format], checkpoint: Path) -> Target:
    """Sees before the work where files go.

    Args:
        output: The option: a folder, or a file whose name ends as its format has it.
        formats: The formats that are asked for.
        checkpoint: The checkpoint; without `output`, files go to the folder ``export`` of its run.

    Raises:
        UserError: If a file can't be what the option says.
    """
    if output is None:
        home = checkpoint.parents[1] if config_of(checkpoint) is not None else checkpoint.parent
        return Target(home / "export", "model")
    path = Path(output).expanduser()
    owner = next((each for each, suffixes in _SUFFIXES.items() if path.suffix in suffixes), None)
    if owner is None or path.is_dir():
        if path.is_file():
            raise UserError(f"--output {output} is a file, and its name is of no format; give a folder or model.tflite")
        return Target(path, "model")
    if list(formats) != [owner]:
        raise UserError(
            f"--output {output} is a file of format {owner}, asked for is {' '.join(formats)}: give a folder"
        )
    return Target(path.parent, path.stem)
