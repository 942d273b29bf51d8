"""The one place that imports Keras: late, on the backend that was asked for, and on the CPU."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import torch  # noqa: F401 - before tensorflow: the other way round, both bring the same symbols and the process dies

from mcubench.errors import UserError

__all__ = ["BACKENDS", "check_backend", "keras_on_cpu", "load_keras", "quiet"]

BACKENDS = ("tensorflow", "torch")

_OF_TF = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # it would write a dozen lines about GPUs that nobody asked for
    # Its oneDNN kernels (2.21) read past the end of what they convolve where a stride is wider than the input.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def load_keras(backend: str | None = None) -> Any:
    """Imports Keras on a backend.

    Keras chooses its backend once, when it is first imported; a process can't have two.

    Args:
        backend: ``tensorflow`` or ``torch``; ``None`` takes the one that the process has, else the one that the
            environment variable ``KERAS_BACKEND`` names, else tensorflow.

    Returns:
        The module ``keras``.

    Raises:
        UserError: If Keras or the backend is not installed, the backend is unknown, or the process has another one.
    """
    loaded = sys.modules.get("keras")
    if loaded is not None and hasattr(loaded, "backend"):
        return _as_it_is(loaded, backend)
    wanted = backend or os.environ.get("KERAS_BACKEND") or "tensorflow"
    check_backend(wanted)
    # Keras reads its backend nowhere else. What the user has set of tensorflow's stays.
    with quiet(), _environment(KERAS_BACKEND=wanted, **{key: os.environ.get(key, _OF_TF[key]) for key in _OF_TF}):
        import keras

        keras.ops.zeros(())  # it speaks of GPUs once more when it is first used
    return keras


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables that are set while the context lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what tensorflow's libraries write to the process's stderr, unless the import fails."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr to keep quiet
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _as_it_is(keras: Any, backend: str | None) -> Any:
    has = keras.backend.backend()
    if backend is not None and backend != has:
        check_backend(backend)
        instead = f", or compare on {has}" if has in BACKENDS else ""
        raise UserError(
            f"this process has imported keras on the backend {has}, and can't change to {backend}: set the environment "
            f"variable KERAS_BACKEND={backend} before keras is imported{instead}"
        )
    if has not in BACKENDS:
        raise UserError(f"keras runs on the backend {has} here; parity is checked on {' and '.join(BACKENDS)}")
    return keras


def check_backend(backend: str) -> None:
    """Sees, without importing anything, that Keras and a backend are there.

    Raises:
        UserError: If not, with what to install; or if there is no such backend.
    """
    if backend not in BACKENDS:
        raise UserError(f"there is no backend {backend!r} to compare with; there are {' and '.join(BACKENDS)}")
    for package in ("keras", backend):
        if not _installed(package):
            raise UserError(f"parity needs {package}, which is not installed: pip install 'mcubench[keras]'")


def _installed(package: str) -> bool:
    try:
        return package in sys.modules or importlib.util.find_spec(package) is not None
    except ValueError:  # a package without a spec, as stand-ins in tests are
        return False


@contextlib.contextmanager
def keras_on_cpu(keras: Any) -> Iterator[None]:
    """Builds and runs on the CPU: GPUs round differently, and to less than single precision by default."""
    with keras.device("cpu:0" if keras.backend.backend() == "tensorflow" else "cpu"):
        yield
