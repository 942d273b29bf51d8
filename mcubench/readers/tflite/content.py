"""What stands in a ``.tflite`` file, checked: tensors, operators, options.

A FlatBuffer is offsets into itself, and its reader for Python trusts them. Here nothing is trusted: every index is
looked up in a list that was read before, every size is compared with the bytes that are there, and all that is read is
charged against the size of the file, so that what points into itself again and again ends.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mcubench.errors import CorruptDataError, UserError
from mcubench.export.backend import load, names_of

__all__ = ["FileModel", "FileOperator", "FileTensor", "parse"]

_IDENTIFIER = b"TFL3"  # schema.fbs
_LARGEST_RANK = 8
_READINGS = 4  # how often a byte of a file may be read: vectors may share their bytes, as those of shapes do

_LAYERS = ("Conv2D", "depthwise", "MatMul")  # last in TensorFlow's names of weights

# Elements in memory, by the name of their type.
_DTYPES: dict[str, type[np.generic]] = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT8": np.int8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "UINT8": np.uint8,
    "BOOL": np.bool_,
}


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor of a file.

    Attributes:
        name: Unique in the file.
        shape: With the batch.
        kind: Its type, as in ``INT8``.
        scales: float32, one for each channel along `axis`, or one; empty if it is not quantised.
        zero_points: As many.
        axis: That of the channels.
        data: Its elements, if they stand in the file; those of ``INT4`` as int8.
        variable: Whether it keeps its elements from one call to the next.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int
    data: NDArray[Any] | None
    variable: bool


@dataclass(frozen=True, eq=False)
class FileOperator:
    """An operator of a file.

    Attributes:
        name: As in ``CONV_2D``.
        options: The table of its options, by the names that the schema has; ``None`` if it has none.
        inputs: What it reads; ``None`` for what is left out.
        outputs: What it makes.
        path: What it is called in tables: a part of its output's name, unique in the file.
    """

    name: str
    options: Any
    inputs: tuple[FileTensor | None, ...]
    outputs: tuple[FileTensor, ...]
    path: str

    def refuse(self, reason: str) -> UserError:
        """An error that names it."""
        return UserError(f"{self.name} at {self.path} can't be read: {reason}")

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Has whatever is raised within, of arguments that do not fit, be an error that names it."""
        try:
            yield
        except UserError:
            raise
        except Exception as error:
            raise self.refuse(str(error).partition("\n")[0] or type(error).__name__) from error


@dataclass(frozen=True)
class FileModel:
    """A model in a file.

    Attributes:
        operators: In the order of execution.
        inputs: What the application supplies.
        outputs: What it gets.
    """

    operators: tuple[FileOperator, ...]
    inputs: tuple[FileTensor, ...]
    outputs: tuple[FileTensor, ...]


def parse(content: bytes) -> FileModel:
    """Reads a file.

    Raises:
        CorruptDataError: If it is not a ``.tflite``, or is truncated or altered.
        UserError: If it holds what is not read here, which is named; or if ai-edge-litert, which has the format's
            schema, is not installed.
    """
    if len(content) < 8 or content[4:8] != _IDENTIFIER:
        raise CorruptDataError("it is no .tflite file: the identifier TFL3 is missing at byte 4")
    schema = load("ai_edge_litert.schema_py_generated")
    try:
        return _Parser(content, schema).model()
    except UserError:
        raise
    except (struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError, MemoryError) as error:
        raise CorruptDataError(f"the .tflite file is truncated or altered: {error}") from error


class _Parser:
    def __init__(self, content: bytes, schema: Any) -> None:
        self.content, self.schema = content, schema
        self.left = _READINGS * len(content)
        self.types = names_of(schema.TensorType)
        self.codes = names_of(schema.BuiltinOperator)
        self.options_of = names_of(schema.BuiltinOptions)

    def model(self) -> FileModel:
        found = self.schema.Model.GetRootAsModel(self.content, 0)
        subgraphs = self.count(found.SubgraphsLength(), "sub-graphs")
        if subgraphs != 1:
            raise UserError(f"the file has {subgraphs} sub-graphs: control flow is not read, models of one are")
        graph = found.Subgraphs(0)
        buffers = self.count(found.BuffersLength(), "buffers")
        tensors = [
            self.tensor(graph.Tensors(place), place, found, buffers)
            for place in range(self.count(graph.TensorsLength(), "tensors"))
        ]
        _distinguish(tensors)
        codes = [
            self.code(found.OperatorCodes(place)) for place in range(self.count(found.OperatorCodesLength(), "codes"))
        ]
        given = [graph.Operators(place) for place in range(self.count(graph.OperatorsLength(), "operators"))]
        read = [
            [None if index == -1 else _at(tensors, index) for index in self.indices(each.InputsAsNumpy())]
            for each in given
        ]
        made = [[_at(tensors, index) for index in self.indices(each.OutputsAsNumpy())] for each in given]
        paths = _layer_names([(*outputs[:1], *inputs[1:2]) for inputs, outputs in zip(read, made, strict=True)])
        operators = [
            FileOperator(_at(codes, each.OpcodeIndex()), self.options(each), tuple(inputs), tuple(outputs), path)
            for each, inputs, outputs, path in zip(given, read, made, paths, strict=True)
        ]
        sides = [
            tuple(_at(tensors, index) for index in self.indices(side))
            for side in (graph.InputsAsNumpy(), graph.OutputsAsNumpy())
        ]
        model = FileModel(tuple(operators), *sides)
        _check_order(model)
        return model

    def charge(self, size: int, what: str) -> None:
        """Takes so many bytes from what may be read."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise CorruptDataError(f"the .tflite file is altered: its {what} take more bytes than it has")

    def count(self, length: int, what: str) -> int:
        """A number of tables, each of which takes at least an offset of 4 bytes."""
        self.charge(4 * length, what)
        return length

    def indices(self, found: Any) -> list[int]:
        """A vector of indices; one that is left out reads as 0."""
        if isinstance(found, int):
            return []
        self.charge(found.nbytes, "indices")
        return [int(each) for each in found]

    def code(self, found: Any) -> str:
        code = max(found.BuiltinCode(), found.DeprecatedBuiltinCode())  # older files have the latter alone
        name = self.codes.get(code)
        if name is None or name == "CUSTOM":
            custom = (found.CustomCode() or b"").decode("utf-8", "replace")
            raise UserError(f"the file has an operator that is not read here: {custom or f'number {code}'}")
        return name

    def options(self, operator: Any) -> Any:
        kind = self.options_of.get(operator.BuiltinOptionsType(), "NONE")
        if kind == "NONE" or (table := operator.BuiltinOptions()) is None:
            return None
        options = getattr(self.schema, kind)()
        options.Init(table.Bytes, table.Pos)
        return options

    def tensor(self, found: Any, place: int, model: Any, buffers: int) -> FileTensor:
        name = (found.Name() or b"").decode("utf-8", "replace") or f"tensor {place}"
        kind = self.types.get(found.Type(), f"type {found.Type()}")
        shape = tuple(self.indices(found.ShapeAsNumpy()))
        if len(shape) > _LARGEST_RANK or any(size < 0 for size in shape):
            raise CorruptDataError(f"the .tflite file is altered: {name} has shape {list(shape)[: _LARGEST_RANK + 1]}")
        signature = self.indices(found.ShapeSignatureAsNumpy())
        unknown = [axis for axis, size in enumerate(signature) if size == -1 and axis]
        if unknown:
            raise UserError(
                f"{name} has no fixed size along axis {unknown[0]}: only the batch may be open; convert it with "
                "a batch of 1"
            )
        if found.Sparsity() is not None:
            raise UserError(f"{name} is stored as a sparse tensor, which is not read")
        index = found.Buffer()
        if not 0 <= index < max(buffers, 1):
            raise CorruptDataError(f"the .tflite file is altered: {name} is in buffer {index} of {buffers}")
        scales, zero_points, axis = self.quantization(found.Quantization(), name, shape)
        data = self.data(model.Buffers(index), name, kind, shape) if index else None
        return FileTensor(name, shape, kind, scales, zero_points, axis, data, bool(found.IsVariable()))

    def quantization(
        self, found: Any, name: str, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], int]:
        none = np.zeros(0, np.float32), np.zeros(0, np.int64), 0
        if found is None or isinstance(scales := found.ScaleAsNumpy(), int) or not len(scales):
            return none
        self.charge(scales.nbytes, "scales")
        zero_points = found.ZeroPointAsNumpy()
        if isinstance(zero_points, int):
            zero_points = np.zeros(len(scales), np.int64)
        self.charge(zero_points.nbytes, "zero points")
        axis = found.QuantizedDimension()
        if not (np.isfinite(scales).all() and (scales > 0).all()):
            raise CorruptDataError(f"the .tflite file is altered: {name} has a scale that is not above 0")
        channels = shape[axis] if 0 <= axis < len(shape) else None
        if len(zero_points) != len(scales) or (len(scales) > 1 and len(scales) != channels):
            raise CorruptDataError(
                f"the .tflite file is altered: {name} {list(shape)} has {len(scales)} scales and {len(zero_points)} "
                f"zero points along axis {axis}"
            )
        return scales.copy(), zero_points.copy(), axis

    def data(self, buffer: Any, name: str, kind: str, shape: tuple[int, ...]) -> NDArray[Any] | None:
        if buffer.Offset() > 1:
            raise UserError(f"{name} stands behind the model, as in files of over 2 GB, which is not read")
        stored = buffer.DataAsNumpy()
        if isinstance(stored, int) or not len(stored):
            return None
        self.charge(len(stored), "buffers")
        count = math.prod(shape)
        if kind == "INT4":
            wanted = -(-count // 2)
        elif kind in _DTYPES:
            wanted = count * np.dtype(_DTYPES[kind]).itemsize
        else:
            raise UserError(f"{name} is of type {kind}, which is not read")
        if len(stored) != wanted:
            raise CorruptDataError(
                f"the .tflite file is truncated or altered: {name} {list(shape)} of {kind} has {len(stored):,} bytes, "
                f"not {wanted:,}"
            )
        if kind == "INT4":
            return _unpacked(stored)[:count].reshape(shape)
        return np.frombuffer(stored.tobytes(), _DTYPES[kind]).reshape(shape)


def _at(found: Sequence[Any], index: int) -> Any:
    if not 0 <= index < len(found):
        raise CorruptDataError(f"the .tflite file is altered: it names number {index} of {len(found)}")
    return found[index]


def _unpacked(stored: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Codes of 4 bits, two a byte, the first in the lower half."""
    halves = np.stack([stored & 0x0F, stored >> 4], axis=1).reshape(-1).astype(np.int8)
    return np.where(halves > 7, halves - 16, halves).astype(np.int8)


def _distinguish(tensors: list[FileTensor]) -> None:
    """Gives tensors of the same name different ones: nothing else tells them apart in a table."""
    known: set[str] = set()
    for tensor in tensors:
        name = _unused(tensor.name, known.__contains__)
        object.__setattr__(tensor, "name", name)
        known.add(name)


def _unused(name: str, is_used: Callable[[str], bool]) -> str:
    number, found = 1, name
    while is_used(found):
        number += 1
        found = f"{name}#{number}"
    return found


def _layer_names(operators: Sequence[tuple[FileTensor | None, ...]]) -> list[str]:
    """Short names of layers, from those of what they make and read: of ``model/conv2d/Conv2D;...`` it is ``conv2d``.

    Args:
        operators: Of each what it makes, then its weights, if it has some.
    """
    found: list[str] = []
    for tensors in operators:
        names = [part.split("/") for each in reversed(tensors) if each is not None for part in each.name.split(";")]
        layers = [name for name in names if name[-1] in _LAYERS] or names[-1:]
        name = layers[0] if len(layers[0]) > 1 else ["", *layers[0], ""]
        found.append(_unused(name[-2] or "operator", set(found).__contains__))
    return found


def _check_order(model: FileModel) -> None:
    """Sees that operators read what was made before, and that nothing is made twice."""
    made = set(model.inputs)
    for operator in model.operators:
        if not operator.outputs:
            raise operator.refuse("it has no output")
        for tensor in operator.inputs:
            if tensor is not None and tensor not in made and tensor.data is None and not tensor.variable:
                raise operator.refuse(f"{tensor.name} is read before it is made")
        for tensor in operator.outputs:
            if tensor in made or tensor.data is not None:
                raise operator.refuse(f"{tensor.name} is made twice")
            made.add(tensor)
    for tensor in model.outputs:
        if tensor not in made:
            raise CorruptDataError(f"the .tflite file is altered: its output {tensor.name} is never made")
    if not (model.inputs and model.outputs):
        raise CorruptDataError("the .tflite file has no input, or no output")
