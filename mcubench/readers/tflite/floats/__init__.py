"""A ``.tflite`` as calls of torch's operators: float files, and the float image of files in integers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx

from mcubench.graph.ir import Graph
from mcubench.readers.program import FileInput, Program, graph_of
from mcubench.readers.tflite.content import FileModel, FileOperator, FileTensor
from mcubench.readers.tflite.floats import elementwise, layers, moves
from mcubench.readers.tflite.floats.site import RULES, Site, real
from mcubench.readers.tflite.shapes import Known, computed_ahead

__all__ = ["elementwise", "float_graph", "is_widened", "layers", "moves"]

_DTYPES = {"FLOAT32": torch.float32, "INT32": torch.int32, "INT64": torch.int64, "BOOL": torch.bool}


def is_widened(operator: FileOperator) -> bool:
    """Whether it makes floats of a constant that stands in fewer bits."""
    first = operator.inputs[0] if operator.inputs else None
    return operator.name == "DEQUANTIZE" and first is not None and first.data is not None


def float_graph(model: FileModel, rounded: bool) -> Graph:
    """The graph of a file.

    Args:
        model: What stands in it.
        rounded: Whether it computes in integers; the graph then has what they stand for.

    Raises:
        UserError: If an operator is not known, or has options that are not; the text names it.
    """
    inputs = [FileInput(each.name, each.shape, _DTYPES.get(each.kind, torch.float32)) for each in model.inputs]

    def write(program: Program, given: Sequence[fx.Node]) -> Sequence[fx.Node]:
        made: dict[FileTensor, fx.Node] = dict(zip(model.inputs, given, strict=True))
        known: Known = {}
        widened: dict[FileTensor, Tensor] = {}
        for operator in model.operators:
            if computed_ahead(operator, known):
                continue
            if is_widened(operator):
                assert operator.inputs[0] is not None
                widened[operator.outputs[0]] = real(operator.inputs[0])
                continue
            if (rule := RULES.get(operator.name)) is None:
                raise operator.refuse("there is no rule for it")
            with operator.refusing(), program.at(operator.path):
                found = rule(Site(operator, program, made, known, widened, rounded))
            nodes = [found] if isinstance(found, fx.Node) else list(found)
            for tensor, node in zip(operator.outputs, nodes, strict=True):
                if program.shape(node) != tensor.shape:
                    raise operator.refuse(
                        f"it makes {list(program.shape(node))}, and the file says {list(tensor.shape)}"
                    )
                made[tensor] = node
        return [made[tensor] for tensor in model.outputs]

    return graph_of(inputs, write)
