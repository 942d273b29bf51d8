"""The integer graph as a ``.tflite`` file: a kernel an operator, with just the graph's scales."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mcubench.export.backend import load, names_of
from mcubench.export.operators import Absent, Variable, describe
from mcubench.export.unrolled import unrolled
from mcubench.quant.integer import kernels
from mcubench.quant.integer.ir import Bias, Constant, Filter, IntegerGraph, IntegerNode, IntegerTensor
from mcubench.quant.integer.memory import prescribed_places

__all__ = ["METADATA", "operators_of", "to_tflite"]

METADATA = "mcubench"  # name of the metadata entry, a JSON text

_PLACES = "OfflineMemoryAllocation"  # name of the entry that TFLite Micro reads (its memory_management.md)

_SCHEMA_VERSION = 3
_FILE_IDENTIFIER = b"TFL3"  # schema.fbs
_ALIGNMENT = 16  # bytes, of the data of buffers: force_align in schema.fbs

# Layers whose kernels read weights of 4 bits; FULLY_CONNECTED does so only with one scale for all channels.
_READ_NARROW = (kernels.Convolve, kernels.DepthwiseConvolve)


def to_tflite(graph: IntegerGraph, description: str = "mcubench", metadata: Mapping[str, Any] | None = None) -> bytes:
    """Writes a graph in TFLite's format.

    Weights of 4 bits are stored in 4, two a byte; those of 2 bits too, as no kernel of TFLite Micro reads
    narrower ones.

    Args:
        graph: The graph.
        description: One line on the model, for its readers.
        metadata: What is to be stored as JSON beside the model, under `METADATA`.

    Raises:
        UserError: If ai-edge-litert, which has the format's schema, is not installed.
    """
    return _Writer(graph).write(description, metadata or {})


def operators_of(graph: IntegerGraph) -> list[str]:
    """TFLite's names of the operators that a graph needs, each once, in order of use."""
    schema = load("ai_edge_litert.schema_py_generated")
    names = names_of(schema.BuiltinOperator)
    return list(dict.fromkeys(names[describe(node, schema).code] for node in unrolled(graph).nodes))


class _Writer:
    def __init__(self, graph: IntegerGraph) -> None:
        self.schema = load("ai_edge_litert.schema_py_generated")
        types = self.schema.TensorType
        self.types = {1: types.INT8, 2: types.INT16, 4: types.INT32}  # by bytes of an element
        self.graph = unrolled(graph)
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [self.schema.BufferT()]  # the first is the empty one, by convention
        self.indices: dict[object, int] = {}
        self.codes: dict[tuple[int, int], int] = {}

    def write(self, description: str, metadata: Mapping[str, Any]) -> bytes:
        schema, graph = self.schema, self.graph
        subgraph = schema.SubGraphT()
        subgraph.name = "main"
        subgraph.inputs = [self.activation(each) for each in graph.inputs]
        subgraph.operators = [self.operator(node) for node in graph.nodes]
        subgraph.outputs = [self.activation(each) for each in graph.outputs]
        subgraph.tensors = self.tensors
        model = schema.ModelT()
        model.version = _SCHEMA_VERSION
        model.description = description
        model.operatorCodes = [self.operator_code(*each) for each in self.codes]
        model.subgraphs = [subgraph]
        model.metadata = [self.metadata(METADATA, np.frombuffer(json.dumps(metadata).encode(), np.uint8))]
        if (places := prescribed_places(graph)) is not None:
            model.metadata.append(self.metadata(_PLACES, self.offsets(places)))
        model.buffers = self.buffers
        builder = _aligning_builder()
        builder.Finish(model.Pack(builder), file_identifier=_FILE_IDENTIFIER)
        return bytes(builder.Output())

    def metadata(self, name: str, content: NDArray[Any]) -> Any:
        made = self.schema.MetadataT()
        made.name, made.buffer = name, self.buffer(content)
        return made

    def offsets(self, places: Mapping[IntegerTensor, int]) -> NDArray[np.int32]:
        """Version, number of subgraphs and of tensors, and for each its place; -1 for what has none in the arena."""
        found = [-1] * len(self.tensors)
        for tensor, place in places.items():
            found[self.indices[tensor]] = place
        return np.array([0, 1, len(found), *found], np.int32)

    def operator_code(self, code: int, version: int) -> Any:
        made = self.schema.OperatorCodeT()
        made.builtinCode = code
        made.deprecatedBuiltinCode = min(code, 127)  # for readers from before there were more
        made.version = version
        return made

    def operator(self, node: IntegerNode) -> Any:
        found = describe(node, self.schema)
        made = self.schema.OperatorT()
        made.opcodeIndex = self.codes.setdefault((found.code, found.version), len(self.codes))
        made.builtinOptionsType, made.builtinOptions = found.options_type, found.options
        made.inputs = [self.operand(each, node) for each in found.inputs]
        made.intermediates = [self.intermediate(each) for each in found.intermediates]
        made.outputs = [self.activation(node.output)]
        return made

    def operand(self, operand: object, node: IntegerNode) -> int:
        if isinstance(operand, Absent):
            return -1
        if isinstance(operand, Variable):
            index = self.activation(operand.tensor)
            self.tensors[index].isVariable = True
            return index
        if isinstance(operand, IntegerTensor):
            return self.activation(operand)
        if operand not in self.indices:
            self.indices[operand] = self.constant(operand, node)
        return self.indices[operand]

    def intermediate(self, tensor: IntegerTensor | None) -> int:
        if tensor is None:
            return self.tensor("", (0,), self.schema.TensorType.FLOAT32, [], [], 0)
        return self.activation(tensor)

    def activation(self, tensor: IntegerTensor) -> int:
        if tensor not in self.indices:
            grid = tensor.grid
            self.indices[tensor] = self.tensor(
                tensor.name, tensor.shape, self.types[tensor.width], [grid.scale], [grid.zero_point], 0
            )
        return self.indices[tensor]

    def constant(self, operand: object, node: IntegerNode) -> int:
        types = self.schema.TensorType
        if isinstance(operand, Filter):
            narrow = operand.bits < 8 and isinstance(node.kernel, _READ_NARROW)
            data: NDArray[Any] = _packed(operand.codes) if narrow else _array(operand.codes)
            zeros = [0] * len(operand.scales)
            kind = types.INT4 if narrow else types.INT8
            shape = tuple(operand.codes.shape)
            return self.tensor(operand.name, shape, kind, operand.scales.tolist(), zeros, operand.axis, data)
        if isinstance(operand, Bias):
            zeros = [0] * len(operand.scales)
            data = _array(operand.codes)
            return self.tensor(operand.name, data.shape, types.INT32, operand.scales.tolist(), zeros, 0, data)
        if isinstance(operand, Constant):
            data, grid = _array(operand.codes), operand.grid
            kind = self.types[grid.bits // 8]
            return self.tensor(operand.name, data.shape, kind, [grid.scale], [grid.zero_point], 0, data)
        numbers = np.asarray(operand, np.int32)  # shapes, paddings, axes
        return self.tensor(f"{node.output.name}/numbers", numbers.shape, types.INT32, [], [], 0, numbers)

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        kind: int,
        scales: list[float],
        zero_points: list[int],
        axis: int,
        data: NDArray[Any] | None = None,
    ) -> int:
        made = self.schema.TensorT()
        made.name, made.shape, made.type = name, list(shape), kind
        made.buffer = 0 if data is None else self.buffer(data)
        if scales:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = scales, zero_points
            made.quantization.quantizedDimension = axis
        self.tensors.append(made)
        return len(self.tensors) - 1

    def buffer(self, data: NDArray[Any]) -> int:
        made = self.schema.BufferT()
        made.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.buffers.append(made)
        return len(self.buffers) - 1


def _aligning_builder() -> Any:
    """A builder that aligns the data of buffers as the schema asks (``force_align: 16``), which flatbuffers leaves out.

    Vectors of single bytes are nothing else in a ``.tflite`` of ours.
    """
    builder: Any = load("flatbuffers").Builder

    class Aligning(builder):  # type: ignore[misc]
        def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802, N803
            return super().StartVector(elemSize, numElems, _ALIGNMENT if elemSize == 1 else alignment)

    return Aligning(1024)


def _array(codes: Tensor) -> NDArray[Any]:
    found: NDArray[Any] = codes.numpy()
    return found


def _packed(codes: Tensor) -> NDArray[np.uint8]:
    """Two codes of 4 bits a byte, the first in the lower half."""
    flat: NDArray[np.uint8] = codes.flatten().numpy().astype(np.uint8) & np.uint8(0x0F)
    if len(flat) % 2:
        flat = np.append(flat, np.uint8(0))
    return flat[::2] | (flat[1::2] << np.uint8(4))
