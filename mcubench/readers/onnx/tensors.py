"""Tensors of an ``.onnx`` file: their sizes are held to the bytes that are there before memory is taken."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mcubench.errors import CorruptDataError, UserError

__all__ = ["TYPES", "Tensors"]

# What inputs and computed values may be.
TYPES = {
    "FLOAT": torch.float32,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
}

# Of tensors that stand in the file, with bits by element; codes of 4 bits are read as those of 8 bits.
_STORED = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8, "DOUBLE": 64, "FLOAT16": 16,
    "UINT16": 16, "UINT32": 32, "UINT64": 64, "INT4": 4, "UINT4": 4,
}  # fmt: skip

_FIELDS = {"FLOAT": "float_data", "INT64": "int64_data", "DOUBLE": "double_data", "UINT32": "uint64_data",
           "UINT64": "uint64_data"}  # fmt: skip


class Tensors:
    """Reads tensors."""

    def __init__(self, onnx: Any, folder: Path | None) -> None:
        """A reader.

        Args:
            onnx: The package.
            folder: Where external data may lie; ``None`` if there may be none.
        """
        self._onnx, self._folder = onnx, folder

    def is_narrow(self, proto: Any) -> bool:
        """Whether a tensor is of codes of 4 bits, which is not seen any more once it is read."""
        return proto.data_type in (self._onnx.TensorProto.INT4, self._onnx.TensorProto.UINT4)

    def read(self, proto: Any, what: str) -> Tensor:
        """A tensor on the CPU, with memory of its own.

        Args:
            proto: What the file has.
            what: What to call it in errors.

        Raises:
            CorruptDataError: If it has other sizes than bytes.
            UserError: If its type is not read, or its data lie where they may not.
        """
        kinds = self._onnx.TensorProto.DataType
        kind = kinds.Name(proto.data_type) if proto.data_type in kinds.values() else str(proto.data_type)
        if kind not in _STORED:
            raise UserError(f"{what} is of type {kind}; {', '.join(_STORED)} are read")
        if proto.HasField("segment") or any(size < 0 for size in proto.dims):
            raise CorruptDataError(f"{what} has sizes {list(proto.dims)}, or is a part of another")
        count = math.prod(proto.dims)
        held = -(-count * _STORED[kind] // 8)
        if proto.data_location == self._onnx.TensorProto.EXTERNAL:
            raw = self._external(proto, held, what)
            proto = self._onnx.TensorProto(dims=proto.dims, data_type=proto.data_type, raw_data=raw)
        if proto.HasField("raw_data"):
            found, wanted = len(proto.raw_data), held
        else:
            wanted = -(-count // 2) if kind.endswith("INT4") else count
            found = len(getattr(proto, _FIELDS.get(kind, "int32_data")))
        if found != wanted:
            unit = "bytes" if proto.HasField("raw_data") else "elements"
            raise CorruptDataError(f"{what} of sizes {list(proto.dims)} has {found:,} {unit} in place of {wanted:,}")
        try:
            array = self._onnx.numpy_helper.to_array(proto)
        except Exception as error:
            raise CorruptDataError(f"{what} can't be read: {error}") from error
        if kind.endswith("INT4"):
            array = array.astype(np.int8 if kind == "INT4" else np.uint8)
        return torch.from_numpy(np.array(array, order="C"))

    def _external(self, proto: Any, held: int, what: str) -> bytes:
        """The bytes of a tensor that lie in another file, below the folder and nowhere else."""
        entries = {each.key: each.value for each in proto.external_data}
        place = entries.get("location", "")
        if self._folder is None:
            raise UserError(f"{what} lies in another file ({place!r}), which is not read: write the model as one file")
        windows = PureWindowsPath(place)
        if not place or windows.drive or windows.root or "\\" in place or ".." in PurePosixPath(place).parts:
            raise UserError(f"{what} lies in {place!r}: only files below the model's folder are read")
        root = self._folder.resolve()
        path = (root / place).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            raise UserError(f"{what} lies in {place!r}, which is no file below the model's folder")
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", str(held)))
        except ValueError:
            raise CorruptDataError(f"{what} has no numbers for where it lies in {place!r}") from None
        if offset < 0 or length != held or offset + length > path.stat().st_size:
            raise CorruptDataError(f"{what} has other sizes than the {length:,} bytes at {offset:,} of {place!r}")
        with path.open("rb") as file:
            file.seek(offset)
            return bytes(file.read(length))
