"""``.onnx`` files as graphs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import fx

from mcubench.graph.ir import Graph
from mcubench.readers.onnx import (  # noqa: F401 - their rules register here
    constants,
    elementwise,
    layers,
    pools,
    quantised,
    recurrent,
    reductions,
    resizing,
    shapes,
)
from mcubench.readers.onnx.file import parsed
from mcubench.readers.onnx.reading import Reading
from mcubench.readers.program import Program, graph_of

__all__ = ["read_onnx"]


def read_onnx(content: bytes, folder: Path | None = None) -> Graph:
    """Reads a model.

    Args:
        content: The bytes of the file.
        folder: Where tensors that lie in other files may be; ``None`` if there may be none.

    Returns:
        The graph, in float, or in integers where the file computes in integers. Its weights are called what the file
        calls them, and its nodes are at the paths that are the names of the file's operators.

    Raises:
        CorruptDataError: If it is not what an ONNX file should be.
        UserError: If the package onnx is not installed, or something in the file is not read: it is named.
    """
    model = parsed(content, folder)

    def write(program: Program, inputs: Sequence[fx.Node]) -> Sequence[fx.Node]:
        return Reading(model, program).write(inputs)

    return graph_of(model.inputs, write)
