"""Checkpoints that are whole or not there, read without running code from them."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from mcubench._compat import mend_torchvision
from mcubench.errors import CorruptDataError, UserError
from mcubench.files import atomic_path
from mcubench.reading import opened
from mcubench.schema import FaultError, count, listed, record

mend_torchvision()  # which the imports of lightning need

import lightning  # noqa: E402
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO  # noqa: E402
from lightning.fabric.utilities.types import _PATH  # noqa: E402

__all__ = ["AtomicCheckpointIO", "load_checkpoint", "load_state"]

_ZIP = b"PK\x03\x04"  # a local file header (APPNOTE 4.3.7)

_RELEASE = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.?dev\d*)?(\+[a-z0-9]+(\.[a-z0-9]+)*)?")  # PEP 440

_MEND = "use another checkpoint of the run, or a copy"


def _weights(value: object, name: str) -> None:
    """Takes what ``Module.state_dict`` gives: values by name, most of them tensors."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise FaultError(f"its {name} is no set of values by name")


def _version(value: object, name: str) -> None:
    """Takes what Lightning compares with the versions at which checkpoints changed."""
    if not isinstance(value, str) or not _RELEASE.fullmatch(value):
        raise FaultError(f"{name} is {value!r}, and must be a version")


# What Lightning saves beside the weights, and we or it read when a training goes on.
_STATE = {
    "epoch": count,
    "global_step": count,
    "pytorch-lightning_version": _version,
    "callbacks": record({}),
    "loops": record({f"{stage}_loop": record({}) for stage in ("fit", "validate", "test", "predict")}),
    "optimizer_states": listed(record({"state": record({}), "param_groups": listed(record({}))})),
    "lr_schedulers": listed(record({})),
}
_check_fields = record({"state_dict": _weights}, later=_STATE)
_check_state = record(_STATE)


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
        return {"pytorch-lightning_version": lightning.__version__, **load_checkpoint(Path(path))}


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint, tensors and plain values only, onto the CPU.

    ``torch.save`` writes a zip file, which has a CRC-32 of all that it holds; ``torch.load`` does not look at it.

    Raises:
        UnreadableError: If the file can't be read.
        CorruptDataError: If it is damaged: truncated, or altered in any bit that counts.
        UserError: If it is no Lightning checkpoint, or holds objects that only running code from it would restore.
    """
    try:
        with opened(path) as file:
            _check_whole(path, file)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        _check_fields(checkpoint, "")
    except FileNotFoundError:
        raise UserError(f"there is no checkpoint {path}") from None
    except FaultError as error:
        raise UserError(f"{path} is no Lightning checkpoint: {error}") from None
    except UserError:
        raise
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} is refused: it holds more than tensors and plain values ({_first(error)})") from None
    except Exception as error:  # torch has many for what is a zip and none of its own
        raise CorruptDataError(f"{path} is damaged, or is no checkpoint ({_first(error)})") from None
    found: dict[str, Any] = checkpoint
    return found


def load_state(path: Path) -> dict[str, Any]:
    """Reads a checkpoint that a training goes on from.

    Raises:
        UserError: If it has the weights, and not the state of the training; else as `load_checkpoint` does.
    """
    checkpoint = load_checkpoint(path)
    try:
        _check_state(checkpoint, "")
    except FaultError as error:
        raise UserError(f"{path} can't be gone on from: {error}; give a last.ckpt, or a run's folder") from None
    return checkpoint


def _check_whole(path: Path, file: BinaryIO) -> None:
    """Holds all that a zip file has against its CRC-32."""
    if file.read(len(_ZIP)) != _ZIP:
        raise UserError(f"{path} is damaged, or is no checkpoint: it does not begin as the files of torch.save do")
    try:
        with zipfile.ZipFile(file) as archive:
            altered = archive.testzip()
    except Exception as error:  # zipfile has many for what it can't read
        raise CorruptDataError(f"{path} is damaged: it is not a whole zip file ({_first(error)}); {_MEND}") from None
    if altered is not None:
        raise CorruptDataError(
            f"{path} is damaged: {altered} in it is not what was saved (its CRC-32 says so); {_MEND}"
        )


def _first(error: Exception) -> str:
    """The first line of an error of others, or what it is called if it says nothing."""
    return str(error).partition("\n")[0] or type(error).__name__
