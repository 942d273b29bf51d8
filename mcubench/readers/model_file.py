"""A model in a file, whatever the format: its graph and, where it computes in integers, its integer graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mcubench.cost.size import BitWidths
from mcubench.errors import CorruptDataError, UserError
from mcubench.graph import ops
from mcubench.graph.ir import Graph
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["FORMATS", "ModelFile", "is_model_file", "read_model"]

_FLOAT = 32  # bits
_LARGEST = 2**31  # bytes; offsets in files of these formats have 32 bits with a sign


@dataclass(frozen=True)
class ModelFile:
    """What was read from a file.

    Attributes:
        path: The file.
        content: Its bytes.
        graph: What it computes in float, as traced from a module; of a file in integers, what these stand for.
        widths: Bits of weights and activations as they stand in it.
        integer: What it computes in integers, if it does and all of it has a kernel.
        not_integer: Otherwise the reason, as a sentence.
        supplied: Of a ``.tflite`` the types of its inputs, as in ``INT8``: codes, or what becomes codes first.
        given: The same of its outputs.
        operators: Of a ``.tflite``: those that an interpreter needs, each once.
    """

    path: Path
    content: bytes = field(repr=False)
    graph: Graph
    widths: BitWidths
    integer: IntegerGraph | None
    not_integer: str
    supplied: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return self.path.name

    def in_integers(self) -> IntegerGraph:
        """The integer graph.

        Raises:
            UserError: If there is none; the text says why.
        """
        if self.integer is None:
            raise UserError(f"{self.name}: {self.not_integer}")
        return self.integer


_Read = Callable[[Path, bytes], ModelFile]


def is_model_file(word: str) -> bool:
    """Whether a word of a command line names a file of one of the formats."""
    return Path(word).suffix.lower() in FORMATS


def read_model(path: Path) -> ModelFile:
    """Reads a model.

    Raises:
        CorruptDataError: If the file is truncated or altered.
        UserError: If it can't be read, is of no known format, or holds what can't be read, which is named; or if a
            package that is needed is not installed.
    """
    read = FORMATS.get(path.suffix.lower())
    if read is None:
        raise UserError(f"{path} is of no format that is read; there are {', '.join(FORMATS)}")
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is no file")  # but a folder, or a pipe, which need not end
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes: files of up to 2 GiB are read")
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}") from error
    try:
        return read(path, content)
    except CorruptDataError as error:
        raise CorruptDataError(f"{path}: {error}") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _tflite(path: Path, content: bytes) -> ModelFile:
    from mcubench.readers.tflite import read_tflite

    return ModelFile(path, content, **vars(read_tflite(content)))


def _onnx(path: Path, content: bytes) -> ModelFile:
    from mcubench.readers.onnx import read_onnx

    graph = read_onnx(content, path.parent)
    rounded = next((node.path for node in graph.nodes if isinstance(node.op, ops.FakeQuantize)), None)
    if rounded is None:
        return _in_float(path, content, graph)
    # Sums between QuantizeLinear and DequantizeLinear are of floats, and rounded once, halves to even; kernels of int8
    # round twice, halves away from 0. So no such file is exactly an integer graph.
    reason = f"{rounded} rounds what floats make (QuantizeLinear), which integer kernels do not do bit for bit"
    return ModelFile(path, content, graph, BitWidths(), None, reason)


def _keras(path: Path, content: bytes) -> ModelFile:
    from mcubench.readers.keras import read_keras

    return _in_float(path, content, read_keras(path, content))


def _exported(path: Path, content: bytes) -> ModelFile:
    from mcubench.readers.exported import read_exported

    return _in_float(path, content, read_exported(content))


def _in_float(path: Path, content: bytes, graph: Graph) -> ModelFile:
    reason = "it computes in float: nothing in it is quantised"
    return ModelFile(path, content, graph, BitWidths(_FLOAT, _FLOAT), None, reason)


FORMATS: dict[str, _Read] = {
    ".tflite": _tflite,
    ".onnx": _onnx,
    ".keras": _keras,
    ".h5": _keras,
    ".pt2": _exported,
}
