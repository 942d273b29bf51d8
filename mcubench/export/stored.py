"""What of a ``.tflite`` is weights, and what is the format's own."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mcubench.export.backend import load
from mcubench.export.tflite import METADATA
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["Stored", "packed_bytes", "stored"]


@dataclass(frozen=True)
class Stored:
    """Bytes of a ``.tflite``.

    Attributes:
        file: Of the whole file.
        weights: Of weights and int8 constants, as they lie in the file.
        biases: Of biases, int32.
        numbers: Of shapes, paddings and axes, int32.
        metadata: Of mcubench's description of the model.
    """

    file: int
    weights: int
    biases: int
    numbers: int
    metadata: int

    @property
    def structure(self) -> int:
        """Of the format: tensors, operators, scales, names, alignment."""
        return self.file - self.weights - self.biases - self.numbers - self.metadata


def stored(model: bytes) -> Stored:
    """Reads what a ``.tflite`` is made of.

    Raises:
        UserError: If ai-edge-litert is not installed.
    """
    schema = load("ai_edge_litert.schema_py_generated")
    read = schema.Model.GetRootAsModel(model, 0)
    main = read.Subgraphs(0)
    sizes = {"weights": 0, "biases": 0, "numbers": 0}
    for tensor in (main.Tensors(index) for index in range(main.TensorsLength())):
        size = read.Buffers(tensor.Buffer()).DataLength()
        if tensor.Type() in (schema.TensorType.INT8, schema.TensorType.INT4):
            sizes["weights"] += size  # tensors without data have none
        else:
            sizes["numbers" if tensor.Quantization() is None else "biases"] += size
    entries = (read.Metadata(index) for index in range(read.MetadataLength()))
    metadata = sum(read.Buffers(each.Buffer()).DataLength() for each in entries if each.Name() == METADATA.encode())
    return Stored(file=len(model), metadata=metadata, **sizes)


def packed_bytes(graph: IntegerGraph) -> int:
    """Bytes of the weights of a graph packed at their width, each tensor rounded up to whole bytes."""
    filters = {each.name: each for node in graph.nodes for each in node.kernel.filters()}
    return sum(math.ceil(each.codes.numel() * each.bits / 8) for each in filters.values())
