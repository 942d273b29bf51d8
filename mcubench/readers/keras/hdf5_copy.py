"""Copies what a model needs of an HDF5 file into a new one: a program by itself, as the library dies of some files.

HDF5 trusts the offsets in a file: one altered byte may be a segmentation fault, or work without end. So only this
process ever opens what somebody sent; what it writes is as sound as h5py makes it.

It takes the file, the file to write, and the number of bytes that may come out of it; and prints a JSON object, with
``attributes`` (of the whole file, as text) and ``elements``, or with ``refused`` or ``corrupt``, which say why not.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
from typing import Any

_OBJECTS = 200_000  # groups and data sets
_TRAINING = ("optimizer_weights", "training_config")  # what is not needed, by name
_MEMORY = 8 * 2**30  # bytes that this process may have


class _RefusedError(Exception):
    """What the file has, that it should not have."""


class _Copy:
    def __init__(self, h5py: Any, bound: int) -> None:
        self.h5py, self.left, self.bound = h5py, bound, bound
        self.elements, self.objects = 0, 0
        self.seen: set[int] = set()

    def charge(self, size: int) -> None:
        self.left -= size
        self.objects += 1
        if self.left < 0 or self.objects > _OBJECTS:
            raise _RefusedError(f"its data sets would unpack to more than {self.bound:,} bytes")

    def attributes(self, source: Any, target: Any) -> None:
        for name in source.attrs:
            if name not in _TRAINING:
                found, value = source.attrs.get_id(name), source.attrs[name]
                self.charge(len(value) if isinstance(value, str) else math.prod(found.shape) * found.dtype.itemsize)
                # Text is UTF-8, though Keras says that it is ASCII.
                text = self.h5py.check_string_dtype(found.dtype) is not None
                target.attrs.create(name, value, dtype=self.h5py.string_dtype() if text else found.dtype)

    def group(self, source: Any, target: Any) -> None:
        place = self.h5py.h5o.get_info(source.id).addr
        if place in self.seen:
            return
        self.seen.add(place)
        self.attributes(source, target)
        for name in source:
            if name in _TRAINING:
                continue
            if not isinstance(source.get(name, getlink=True), self.h5py.HardLink):
                raise _RefusedError(f"it has a link that may lead outside of it: {name!r}")
            found = source[name]
            if isinstance(found, self.h5py.Group):
                self.charge(0)
                self.group(found, target.create_group(name))
            elif isinstance(found, self.h5py.Dataset):
                self.data(name, found, target)

    def data(self, name: str, source: Any, target: Any) -> None:
        if source.external or source.is_virtual:
            raise _RefusedError(f"its data set {name!r} lies outside of it")
        if source.dtype.kind not in "fiub" or source.shape is None:
            raise _RefusedError(f"its data set {name!r} holds no numbers")
        count = math.prod(source.shape)
        self.charge(count * source.dtype.itemsize)
        self.elements += count
        self.attributes(source, target.create_dataset(name, data=source[()]))


def _found(h5py: Any, source: str, target: str, bound: int) -> dict[str, Any]:
    try:
        with h5py.File(source, "r") as file, h5py.File(target, "w") as made:
            copy = _Copy(h5py, bound)
            copy.group(file, made)
            texts = {name: value for name, value in made.attrs.items() if isinstance(value, (str, bytes))}
    except _RefusedError as error:
        return {"refused": str(error)}
    except Exception as error:  # h5py has no one error for what it can't read
        return {"corrupt": str(error).partition("\n")[0] or type(error).__name__}
    attributes = {name: v.decode("utf-8", "replace") if isinstance(v, bytes) else v for name, v in texts.items()}
    return {"attributes": attributes, "elements": copy.elements}


if __name__ == "__main__":
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, ValueError, OSError):  # not on all systems, and not below what is set already
        pass
    json.dump(_found(importlib.import_module("h5py"), sys.argv[1], sys.argv[2], int(sys.argv[3])), sys.stdout)
