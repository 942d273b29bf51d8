"""What stands in a ``.pt2`` archive, read as data.

`torch.export.load` unpickles what an archive asks it to, and evaluates its expressions. Here an archive is a zip with
one JSON text for the graph, one for the places of weights, and their bytes; what is pickled is refused.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mcubench.errors import CorruptDataError, UserError

__all__ = ["DTYPES", "Archive", "open_archive"]

_LARGEST_TEXT = 2**26  # bytes of a JSON text

# ScalarType of torch's schema.py, where it is one that is read here.
DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    7: torch.float32,
    12: torch.bool,
}


@dataclass(frozen=True)
class Archive:
    """A program and its tensors.

    Attributes:
        program: What ``models/model.json`` says.
        tensors: Parameters, buffers and constants by their paths.
    """

    program: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def open_archive(content: bytes) -> Archive:
    """Reads an archive.

    Raises:
        CorruptDataError: If it is none, or is truncated or altered.
        UserError: If it holds what is not read, which is named.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            return _read(opened)
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
        NotImplementedError,
    ) as error:
        if isinstance(error, UserError):
            raise
        raise CorruptDataError(f"the .pt2 file is truncated or altered: {error}") from error


def _read(opened: zipfile.ZipFile) -> Archive:
    members = {each.filename.partition("/")[2]: each for each in opened.infolist()}
    if any(each.compress_type != zipfile.ZIP_STORED for each in members.values()):
        raise CorruptDataError("the .pt2 file is compressed, as torch does not write it")
    if "models/model.json" not in members:
        raise UserError("it holds no models/model.json: it is not of torch.export.save, or of one before torch 2.8")
    if members.get("byteorder") is not None and opened.read(members["byteorder"]) != b"little":
        raise UserError("its weights are big-endian")
    program = _json(opened, members["models/model.json"])
    tensors: dict[str, Tensor] = {}
    for folder, name in (("weights", "model_weights_config"), ("constants", "model_constants_config")):
        listed = members.get(f"data/{folder}/{name}.json")
        for path, entry in _json(opened, listed)["config"].items() if listed else ():
            if entry["use_pickle"]:
                raise UserError(f"{path} is pickled, which can run code; only plain tensors are read")
            tensors[path] = _tensor(
                path, entry["tensor_meta"], opened.read(members[f"data/{folder}/{entry['path_name']}"])
            )
    return Archive(program, tensors)


def _json(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    if member.file_size > _LARGEST_TEXT:
        raise UserError(f"{member.filename} has {member.file_size:,} bytes, more than is read")
    try:
        return json.loads(opened.read(member))
    except RecursionError as error:
        raise CorruptDataError(f"{member.filename} is nested without end") from error


def _tensor(path: str, meta: Mapping[str, Any], stored: bytes) -> Tensor:
    """A tensor as it lies in its bytes."""
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None:
        raise UserError(f"{path} is of a type that is not read (number {meta['dtype']} of torch's)")
    shape, strides = ([each["as_int"] for each in meta[key]] for key in ("sizes", "strides"))
    start = meta["storage_offset"]["as_int"]
    last = start + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    held = len(stored) // dtype.itemsize
    if min([0, start, *shape, *strides]) < 0 or (0 not in shape and last >= held):
        raise CorruptDataError(f"the .pt2 file is altered: {path} {shape} reaches beyond its {len(stored):,} bytes")
    if 0 in shape:
        return torch.zeros(shape, dtype=dtype)
    whole = torch.frombuffer(bytearray(stored[: held * dtype.itemsize]), dtype=dtype)
    return whole.as_strided(shape, strides, start).clone()
