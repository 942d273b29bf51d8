"""Checkpoints that are whole or not there, read without running code from them."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from mcubench._compat import mend_torchvision
from mcubench.errors import UserError
from mcubench.files import atomic_path

mend_torchvision()  # which the imports of lightning need

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: E402
from lightning.fabric.utilities.types import _PATH  # noqa: E402

__all__ = ["AtomicCheckpointIO", "load_checkpoint"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its target and renames it; reads with `load_checkpoint`.

    Lightning writes to the system's temporary folder and moves the file; between two file systems that is a copy, which
    a kill can cut short.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Writes the checkpoint.

        Raises:
            OSError: If the disk is full or can't be written to.
        """
        with atomic_path(Path(path)) as temporary:
            try:
                with temporary.open("wb") as file:
                    torch.save(checkpoint, file)
            except RuntimeError as error:  # torch's, of its own bookkeeping, behind what a full disk raises
                if isinstance(error.__context__, OSError):
                    raise error.__context__ from None
                raise

    def load_checkpoint(self, path: _PATH, *_: Any, **__: Any) -> dict[str, Any]:
        """Reads it onto the CPU, data only whatever Lightning asks for; raises what `load_checkpoint` does."""
        return load_checkpoint(Path(path))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint, tensors and plain values only, onto the CPU.

    Raises:
        UserError: If the file is damaged, is no Lightning checkpoint, or holds objects that only running code from it
            would restore.
    """
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is refused: damaged, or more than tensors and plain values ({reason})") from None
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path} is damaged, or is no checkpoint ({reason})") from None
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UserError(f"{path} is no Lightning checkpoint: it has no state_dict")
    return checkpoint
