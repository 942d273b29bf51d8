"""What stands in a file of Keras', taken out within bounds: the configuration, and where the weights are.

A ``.keras`` is a zip with a configuration in JSON and an HDF5 file of weights; a ``.h5`` is one HDF5 file. Whether a
file is the one or the other its first bytes say, not its name.
"""

from __future__ import annotations

import importlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mcubench.errors import CorruptDataError, UserError

__all__ = ["Stored", "load_h5py", "taken_apart"]

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_CONFIG, _METADATA, _WEIGHTS = "config.json", "metadata.json", "model.weights.h5"

_LARGEST_CONFIG = 2**26  # bytes; that of a network of a thousand layers has a million
_LARGEST = 2**31  # bytes that may come out of a file at all
_EXPANSION = 100  # and out of each of its bytes, where that is more than
_SMALL = 2**28
_MEMBERS = 10_000
_SECONDS = 120  # that a copy may take; a gigabyte takes a few


@dataclass(frozen=True)
class Stored:
    """A file, taken apart.

    Attributes:
        config: The configuration of the model.
        weights: An HDF5 file: a copy of that of the weights, or of the file itself.
        zipped: Whether it came in a zip, as Keras 3 writes it.
        version: Of the Keras that wrote it; empty if it does not say.
        elements: Number of elements of all that is stored.
    """

    config: dict[str, Any]
    weights: bytes
    zipped: bool
    version: str
    elements: int


def taken_apart(content: bytes) -> Stored:
    """Takes a file apart.

    Raises:
        CorruptDataError: If it is neither of the two, or is truncated or altered.
        UserError: If more would come out of it than the bounds allow, or it reaches outside of itself.
    """
    if content.startswith(_HDF5):
        weights, attributes, elements = _copied(content, _bound(content))
        if "model_config" not in attributes:
            raise UserError("it has no configuration (model_config) of a model: are these weights alone?")
        config, version = _parsed(attributes["model_config"]), attributes.get("keras_version", "")
        return Stored(config, weights, zipped=False, version=version, elements=elements)
    if not content.startswith(_ZIP):
        raise CorruptDataError("it is neither a zip nor HDF5, as files of Keras' are")
    members = _members(content)
    weights, _, elements = _copied(members[_WEIGHTS], _bound(content))
    version = _parsed(members.get(_METADATA, b"{}")).get("keras_version", "")
    return Stored(_parsed(members[_CONFIG]), weights, zipped=True, version=str(version), elements=elements)


def _bound(content: bytes) -> int:
    return min(max(len(content) * _EXPANSION, _SMALL), _LARGEST)


def _members(content: bytes) -> dict[str, bytes]:
    """The members that are read; others (optimisers, vocabularies) stay where they are."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = archive.infolist()
            names = [info.filename for info in infos]
            for name in names:
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                    raise UserError(f"it has a member outside of the archive: {name!r}")
            if len(names) > _MEMBERS or len(set(names)) < len(names):
                raise UserError(f"it has {len(names):,} members, some of one name or more than {_MEMBERS:,}")
            if sum(info.file_size for info in infos) > _bound(content):
                raise UserError(f"its members would unpack to more than {_bound(content):,} bytes")
            if _WEIGHTS not in names and _CONFIG in names:
                raise UserError(f"it has no {_WEIGHTS}")
            found = {}
            for name in (_CONFIG, _METADATA, _WEIGHTS):
                if name not in names and name == _METADATA:
                    continue
                info = archive.getinfo(name)
                if name != _WEIGHTS and info.file_size > _LARGEST_CONFIG:
                    raise UserError(f"its {name} would unpack to {info.file_size:,} bytes")
                with archive.open(info) as member:  # ends at the size that was declared, whatever is in it
                    found[name] = member.read()
            return found
    except UserError:
        raise
    except Exception as error:  # zipfile has many for what it can't read
        raise CorruptDataError(f"it is truncated or altered: {_line(error)}") from error


def _copied(content: bytes, bound: int) -> tuple[bytes, dict[str, str], int]:
    """A sound copy of an HDF5 file, with its attributes that are text and the number of its elements."""
    load_h5py()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source", Path(folder) / "target"
        source.write_bytes(content)
        program = Path(__file__).with_name("hdf5_copy.py")
        words = [sys.executable, "-P", str(program), str(source), str(target), str(bound)]
        try:
            done = subprocess.run(words, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 - ours
        except subprocess.TimeoutExpired:
            raise CorruptDataError(f"it is altered: its HDF5 takes more than {_SECONDS} s to read") from None
        if done.returncode:
            raise CorruptDataError("it is altered: reading its HDF5 ends in a crash")
        found = json.loads(done.stdout)
        if "refused" in found:
            raise UserError(found["refused"])
        if "corrupt" in found:
            raise CorruptDataError(f"it is truncated or altered: {found['corrupt']}")
        return target.read_bytes(), found["attributes"], found["elements"]


def load_h5py() -> Any:
    """Imports h5py, which comes with Keras.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return importlib.import_module("h5py")
    except ModuleNotFoundError:
        raise UserError("reading it needs Keras, which is not installed: pip install 'mcubench[keras]'") from None


def _parsed(text: str | bytes) -> dict[str, Any]:
    if len(text) > _LARGEST_CONFIG:
        raise UserError(f"its configuration has {len(text):,} bytes")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptDataError(f"its configuration is no JSON: {_line(error)}") from error
    if not isinstance(found, dict):
        raise CorruptDataError("its configuration is no JSON object")
    return found


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
