"""``.tflite`` files: what stands in them, in float and in integers."""

from __future__ import annotations

from dataclasses import dataclass

from mcubench.cost.size import BitWidths
from mcubench.errors import CorruptDataError, UserError
from mcubench.graph.ir import Graph
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.readers.tflite.content import FileModel, parse
from mcubench.readers.tflite.floats import float_graph, is_widened
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
        supplied: Types of the inputs, as in ``INT8``.
        given: Types of the outputs.
        operators: Names, each once, in the order of use.
    """

    graph: Graph
    widths: BitWidths
    integer: IntegerGraph | None
    not_integer: str
    supplied: tuple[str, ...]
    given: tuple[str, ...]
    operators: tuple[str, ...]


def read_tflite(content: bytes) -> Tflite:
    """Reads a file.

    Raises:
        CorruptDataError: If it is truncated or altered.
        UserError: If something in it can't be read, which is named.
    """
    model = parse(content)
    made = (tensor for operator in model.operators for tensor in operator.outputs)
    kinds = {tensor.kind for tensor in (*model.inputs, *made)}
    rounded = bool(kinds & {"INT8", "INT16", "UINT8"})
    graph = float_graph(model, rounded)
    integer, reason = None, "it computes in float: nothing in it is quantised"
    if rounded:
        try:
            integer, reason = integer_graph(model), ""
        except CorruptDataError:
            raise
        except UserError as error:
            reason = str(error)
    widths = _widths(model, 16 if "INT16" in kinds else 8) if rounded else BitWidths(_stored_bits(model), _FLOAT)
    return Tflite(
        graph=graph,
        widths=widths,
        integer=integer,
        not_integer=reason,
        supplied=tuple(tensor.kind for tensor in model.inputs),
        given=tuple(tensor.kind for tensor in model.outputs),
        operators=tuple(dict.fromkeys(each.name for each in model.operators)),
    )


def _stored_bits(model: FileModel) -> int:
    """Bits in which a float file has its weights: those that it widens, if there are some."""
    kinds = {each.inputs[0].kind for each in model.operators if is_widened(each) and each.inputs[0] is not None}
    return 16 if "FLOAT16" in kinds else 8 if "INT8" in kinds else _FLOAT


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
