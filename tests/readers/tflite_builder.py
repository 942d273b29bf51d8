"""Small ``.tflite`` files of operators that mcubench does not write itself, by the schema alone."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

__all__ = ["Builder"]

_KINDS = {
    np.dtype(name.lower()): getattr(schema.TensorType, name)
    for name in ("INT8", "INT16", "INT32", "FLOAT32", "FLOAT16", "UINT8")
}


class Builder:
    """Adds tensors, then operators, then makes the file."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "made by hand"
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []
        self.model.buffers = [schema.BufferT()]

    def tensor(
        self,
        shape: tuple[int, ...],
        kind: type[np.generic] = np.int8,
        scale: float | list[float] | None = None,
        zero_point: int = 0,
        data: NDArray[Any] | None = None,
        variable: bool = False,
        axis: int = 0,
    ) -> int:
        """Adds a tensor and returns its number."""
        made = schema.TensorT()
        made.name, made.shape = f"model/layer{len(self.graph.tensors)}/op", list(shape)
        made.type, made.buffer, made.isVariable = _KINDS[np.dtype(kind)], 0, variable
        if scale is not None:
            scales = [scale] if isinstance(scale, float) else scale
            made.quantization = schema.QuantizationParametersT()
            made.quantization.scale, made.quantization.zeroPoint = scales, [zero_point] * len(scales)
            made.quantization.quantizedDimension = axis
        if data is not None:
            assert data.shape == shape
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data.astype(kind)).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            made.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(made)
        return len(self.graph.tensors) - 1

    def numbers(self, *values: int) -> int:
        """Adds constants of int32."""
        return self.tensor((len(values),), np.int32, data=np.array(values))

    def operator(self, name: str, inputs: list[int], outputs: list[int], options: str = "", **fields: Any) -> None:
        """Adds an operator, its options by the names that the schema has."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = len(self.model.operatorCodes) - 1, inputs, outputs
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            made.builtinOptions = getattr(schema, f"{options}T")()
            for key, value in fields.items():
                assert hasattr(made.builtinOptions, key), key
                setattr(made.builtinOptions, key, value)
        self.graph.operators.append(made)

    def file(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
