"""Keras' own loader, given what was looked through before: a model with its weights, in bounds."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcubench.errors import CorruptDataError, UserError
from mcubench.parity.backend import keras_on_cpu, load_keras, quiet
from mcubench.readers.keras.configuration import own_name
from mcubench.readers.keras.stored import Stored, load_h5py

__all__ = ["loaded"]

_SLACK = 2**20  # elements of variables that no file has, as the seeds of dropout are


def loaded(found: Stored, config: dict[str, Any]) -> tuple[Any, Any]:
    """Has Keras build a model and load its weights, on whichever backend it is: neither is computed with.

    Args:
        found: The file.
        config: Its configuration, looked through.

    Returns:
        Keras, and the model.

    Raises:
        CorruptDataError: If Keras can't build it, or the weights do not fit.
        UserError: If it would be larger than what is stored; or if Keras is not installed.
    """
    keras = load_keras()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("model.keras" if found.zipped else "model.h5")
        try:
            (_write_zip if found.zipped else _write_hdf5)(path, found, config)
            with warnings.catch_warnings(), quiet(), keras_on_cpu(keras), _bounded(keras, found.elements + _SLACK):
                warnings.simplefilter("ignore")
                return keras, keras.saving.load_model(path, compile=False, safe_mode=True)
        except UserError:
            raise
        except Exception as error:  # Keras has no one error for what it can't load
            raise CorruptDataError(f"Keras can't load it: {_reason(error)}") from error


def _write_zip(path: Path, found: Stored, config: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": found.version}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", found.weights)


def _write_hdf5(path: Path, found: Stored, config: dict[str, Any]) -> None:
    path.write_bytes(found.weights)
    with load_h5py().File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(config)


@contextlib.contextmanager
def _bounded(keras: Any, elements: int) -> Iterator[None]:
    """Has layers make no more variables than the file has weights for: a number in it could ask for any memory."""
    original, made = keras.layers.Layer.add_weight, 0

    def add_weight(layer: Any, *args: Any, **options: Any) -> Any:
        nonlocal made
        shape = options.get("shape", args[0] if args else ())
        made += math.prod(shape) if isinstance(shape, (tuple, list)) else shape or 1
        if made > elements:
            kind = type(layer).__name__
            raise UserError(f"{kind} at {own_name(layer.name)} has weights of {shape}, which the file has not")
        return original(layer, *args, **options)

    keras.layers.Layer.add_weight = add_weight
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = original


def _reason(error: BaseException) -> str:
    """What was the matter: Keras says it behind all of what it read, and of several layers one by one."""
    lines = str(error).rpartition("Exception encountered: ")[2].splitlines()
    return next((line.strip() for line in lines if line.strip()), type(error).__name__)[:300]
