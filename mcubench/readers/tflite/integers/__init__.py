"""A ``.tflite`` in int8 as the integer graph: the table of `mcubench.export.operators` the other way round."""

from __future__ import annotations

from mcubench.errors import UserError
from mcubench.quant.integer.ir import IntegerGraph, IntegerNode, IntegerTensor
from mcubench.readers.tflite.content import FileModel, FileOperator, FileTensor
from mcubench.readers.tflite.integers import functions, layers, moves
from mcubench.readers.tflite.integers.site import RULES, IntegerSite, integer_tensor
from mcubench.readers.tflite.shapes import Known, computed_ahead

__all__ = ["functions", "integer_graph", "layers", "moves"]


def integer_graph(model: FileModel) -> IntegerGraph:
    """The integer graph of a file: nodes as TFLite Micro runs them.

    Where the file is supplied with floats, or with unsigned codes, and quantises them first, or ends with floats, the
    graph begins and ends with the codes; its notes say so.

    Raises:
        UserError: If something has no kernel; the text names it.
    """
    nodes: list[IntegerNode] = []
    made: dict[FileTensor, IntegerTensor] = {}
    known: Known = {}
    inputs: dict[FileTensor, IntegerTensor] = {}
    notes: list[str] = []
    for operator in model.operators:
        if computed_ahead(operator, known):
            continue
        first = operator.inputs[0] if operator.inputs else None
        if operator.name == "QUANTIZE" and first in model.inputs and first.kind in ("FLOAT32", "UINT8"):
            made[operator.outputs[0]] = inputs[first] = _supplied(operator, first)
            notes.append(f"the file takes {first.name} as {first.kind.lower()}, here it is taken as int8")
            continue
        if operator.outputs[0] in model.outputs and first in made and _is_given(operator):
            made[operator.outputs[0]] = made[first]
            kind = operator.outputs[0].kind.lower()
            notes.append(f"the file gives {operator.outputs[0].name} as {kind}, here it is given as int8")
            continue
        for tensor in operator.inputs:
            if tensor in model.inputs and tensor not in made:
                made[tensor] = inputs[tensor] = integer_tensor(tensor)
        if (rule := RULES.get(operator.name)) is None:
            raise operator.refuse("there is no integer kernel for it")
        with operator.refusing():
            rule(IntegerSite(operator, made, nodes, known))
    for tensor in model.inputs:
        if tensor in model.outputs and tensor not in made:
            made[tensor] = inputs[tensor] = integer_tensor(tensor)
    if unread := [each.name for each in model.inputs if each not in inputs]:
        raise UserError(f"the input {unread[0]} is not read by any operator")
    outputs = tuple(made[tensor] for tensor in model.outputs)
    given = tuple(inputs[tensor] for tensor in model.inputs)
    return IntegerGraph(tuple(nodes), given, outputs, (0,) * len(given), (0,) * len(outputs), tuple(notes))


def _supplied(operator: FileOperator, given: FileTensor) -> IntegerTensor:
    """The first codes of a file that makes them of something else."""
    tensor = integer_tensor(operator.outputs[0])
    if given.kind == "UINT8" and not _is_unsigned(given, operator.outputs[0]):
        raise operator.refuse("it brings unsigned codes to another grid")
    return tensor


def _is_given(operator: FileOperator) -> bool:
    """Whether an operator makes of the last codes of a file what it gives: floats, or the same unsigned."""
    first, last = operator.inputs[0], operator.outputs[0]
    if operator.name == "QUANTIZE" and last.kind == "UINT8" and first is not None:
        return _is_unsigned(last, first)
    return operator.name == "DEQUANTIZE"


def _is_unsigned(unsigned: FileTensor, signed: FileTensor) -> bool:
    """Whether codes are those of another tensor, and 128."""
    if len(unsigned.scales) != 1 or len(signed.scales) != 1:
        return False
    apart = int(unsigned.zero_points[0]) - int(signed.zero_points[0])
    return float(unsigned.scales[0]) == float(signed.scales[0]) and apart == 128
