"""Runs a ``.tflite`` in the interpreters of others: the witnesses of the integer graph."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import UserError
from mcubench.export.backend import load

__all__ = ["Arena", "recorded_arena", "run_litert", "run_tflm", "smallest_arena"]

Codes = NDArray[np.int8]
Progress = Callable[[Iterable[int]], Iterable[int]]

_RUNTIME = "tflite_micro.python.tflite_micro.runtime"
_ALIGNMENT = 16  # bytes, of its arena
_ARENA = 64 * 2**20  # bytes, more than any model for a microcontroller needs


@dataclass(frozen=True)
class Arena:
    """What TFLite Micro took of its arena, as its recording allocator says; on a 64-bit host.

    Attributes:
        head: Bytes of activations and scratch buffers, which overlap in time.
        tail: Bytes of its own structures, which hold pointers and so are larger here than on a microcontroller.
    """

    head: int
    tail: int

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.head + self.tail


def run_tflm(model: bytes, *inputs: Codes, progress: Progress = iter) -> tuple[Codes, ...]:
    """Runs a model in TFLite Micro, a sample at a time, each from the state in which a model starts.

    Args:
        model: The ``.tflite``.
        *inputs: Of the type that the model takes, shape (N, *shape), one for each input of the model.
        progress: Wraps the loop over samples.

    Returns:
        Shape (N, *shape), for each output.

    Raises:
        UserError: If tflite-micro is not installed, or refuses the model.
    """
    interpreter = _tflm(model)
    count = len(interpreter_outputs(model))
    found: list[list[Codes]] = [[] for _ in range(count)]
    for index in progress(range(len(inputs[0]))):
        interpreter.reset()  # of recurrent layers
        for place, x in enumerate(inputs):
            interpreter.set_input(x[index : index + 1], place)
        interpreter.invoke()
        for place in range(count):
            found[place].append(interpreter.get_output(place))
    return tuple(np.concatenate(each) for each in found)


def interpreter_outputs(model: bytes) -> Sequence[int]:
    """The outputs of a model."""
    schema = load("ai_edge_litert.schema_py_generated")
    outputs: Sequence[int] = schema.Model.GetRootAsModel(model, 0).Subgraphs(0).OutputsAsNumpy()
    return outputs


def recorded_arena(model: bytes) -> Arena:
    """What TFLite Micro takes of its arena for a model.

    Raises:
        UserError: As `run_tflm` does.
    """
    interpreter = _tflm(model)
    with _stderr() as file:  # where its report goes
        interpreter.print_allocations()
        file.seek(0)
        text = file.read().decode()
    sizes = {part: re.search(rf"Arena allocation {part} (\d+) bytes", text) for part in ("head", "tail")}
    if not all(sizes.values()):
        raise UserError("this version of tflite-micro does not say what it takes of its arena")
    return Arena(**{part: int(match[1]) for part, match in sizes.items() if match})


def smallest_arena(model: bytes) -> int:
    """The smallest arena in which TFLite Micro starts a model, a multiple of 16 bytes; on a 64-bit host.

    It is more than what was recorded where activations are small: while it starts, TFLite Micro needs room for a moment
    that is free again afterwards.

    Raises:
        UserError: As `run_tflm` does.
    """
    load(_RUNTIME)
    words = [str(recorded_arena(model).total), str(_ALIGNMENT)]
    done = subprocess.run(  # noqa: S603 - a script of ours
        [sys.executable, "-P", str(Path(__file__).with_name("smallest.py")), *words],
        input=model,
        capture_output=True,
        check=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},  # what is forked must have no threads
    )
    return int(done.stdout)


@contextlib.contextmanager
def _stderr() -> Iterator[IO[bytes]]:
    """A file that gets what the process writes to its standard error, also from C++."""
    with tempfile.TemporaryFile() as file:
        saved = os.dup(2)
        try:
            os.dup2(file.fileno(), 2)
            yield file
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _tflm(model: bytes) -> Any:
    runtime = load(_RUNTIME)
    try:
        return runtime.Interpreter.from_bytes(model, arena_size=_ARENA)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"TFLite Micro refuses the model: {error}") from error


def run_litert(model: bytes, *inputs: Codes, reference: bool = True, progress: Progress = iter) -> tuple[Codes, ...]:
    """Runs a model in LiteRT, a sample at a time, each from the state in which a model starts.

    Args:
        model: The ``.tflite``.
        *inputs: int8, shape (N, *shape), one for each input of the model.
        reference: Use the reference kernels; else those that LiteRT takes by default (XNNPACK).
        progress: Wraps the loop over samples.

    Raises:
        UserError: If ai-edge-litert is not installed.
    """
    litert = load("ai_edge_litert.interpreter")
    kind = litert.OpResolverType.BUILTIN_REF if reference else litert.OpResolverType.AUTO
    interpreter = litert.Interpreter(model_content=model, experimental_op_resolver_type=kind, num_threads=1)
    interpreter.allocate_tensors()
    places = [each["index"] for each in interpreter.get_input_details()]
    results = [each["index"] for each in interpreter.get_output_details()]
    found: list[list[Codes]] = [[] for _ in results]
    for index in progress(range(len(inputs[0]))):
        interpreter.reset_all_variables()  # of recurrent layers
        for place, x in zip(places, inputs, strict=True):
            interpreter.set_tensor(place, x[index : index + 1])
        interpreter.invoke()
        for row, place in zip(found, results, strict=True):
            row.append(interpreter.get_tensor(place))
    return tuple(np.concatenate(each) for each in found)
