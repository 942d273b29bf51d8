"""``.tflite`` files: what stands in them, in float and in integers."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.cost.size import BitWidths
from mcubench.errors import CorruptDataError, UserError
from mcubench.graph.ir import Graph
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.readers.tflite.content import FileModel, parse
from mcubench.readers.tflite.floats import float_graph
from mcubench.readers.tflite.integers import integer_graph

__all__ = ["Tflite", "read_tflite"]

_FLOAT = 32  # bits


@dataclass(frozen=True)
class Tflite:
    """A ``.tflite`` file.

    Attributes:
        graph: What it computes in float, or what its integers stand for.
        widths: Bits of weights and activations.
        integer: The integer graph, if it computes in int8 and all of it has a kernel.
        not_integer: Otherwise the reason.
    """

    graph: Graph
    widths: BitWidths
    integer: IntegerGraph | None
    not_integer: str


def read_tflite(content: bytes) -> Tflite:
    """Reads a file.

    Raises:
        CorruptDataError: If it is truncated or altered.
        UserError: If something in it can't be read, which is named.
    """
    model = parse(content)
    kinds = {tensor.kind for operator in model.operators for tensor in operator.outputs}
    rounded = bool(kinds & {"INT8", "INT16", "UINT8"})
    graph = float_graph(model, rounded)
    if not rounded:
        return Tflite(graph, BitWidths(_FLOAT, _FLOAT), None, "it computes in float: nothing in it is quantised")
    widths = _widths(model, 16 if "INT16" in kinds else 8)
    try:
        return Tflite(graph, widths, integer_graph(model), "")
    except CorruptDataError:
        raise
    except UserError as error:
        return Tflite(graph, widths, None, str(error))


def _widths(model: FileModel, activation: int) -> BitWidths:
    """Bits of the weights of each layer."""
    bits = {
        operator.path: 4 if tensor.kind == "INT4" else 8
        for operator in model.operators
        for tensor in operator.inputs[1:2]
        if tensor is not None and tensor.kind in ("INT4", "INT8") and tensor.data is not None
    }
    weight = max(bits.values(), default=8)
    return BitWidths(weight, activation, {path: each for path, each in bits.items() if each != weight})
