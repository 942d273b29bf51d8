"""The integer graph as ONNX: float operators between QuantizeLinear and DequantizeLinear, with its scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mcubench.errors import UserError
from mcubench.export.onnx_file import METADATA, any_number, quiet, traced_batch, write_onnx
from mcubench.export.opsets import OPSET
from mcubench.export.rounding import as_kernels_round
from mcubench.graph import Graph, Node, Value, interpret, ops
from mcubench.quant.fake import codes_of_weights, grids_of_values, moved_inputs
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["METADATA", "OPSET", "shapes_of", "to_onnx"]


def to_onnx(
    graph: Graph,
    integer: IntegerGraph,
    metadata: Mapping[str, Any] | None = None,
    *,
    opset: int = OPSET,
    batch: int | None = None,
) -> bytes:
    """Writes a graph as ONNX through torch.onnx.

    Every value of the integer graph passes QuantizeLinear and DequantizeLinear with its scale and zero point; weights
    are stored as int8 codes with a scale for each channel (those of 4 and 2 bits too). Biases are float.

    Args:
        graph: The deployed float graph.
        integer: What was made of it.
        metadata: What is to be stored as JSON in the model's properties, under `METADATA`.
        opset: The operator set.
        batch: How many samples the file takes at a time; any number by default.

    Returns:
        The file: it takes float32, or the integers that the graph does, (N, *shape), channels first, and gives float32.

    Raises:
        UserError: If onnx or onnxscript is not installed, or an operator is not there in this operator set.
    """
    if recurrent := next((node for node in graph.nodes if isinstance(node.op, ops.Recurrent)), None):
        raise UserError(
            f"{recurrent.path or '(root)'}: ONNX has no form of {recurrent.op.label} in integers, as QuantizeLinear "
            "and DequantizeLinear do not reach into it; the formats tflite, tflm and c do, and --format onnx --float "
            "writes the float model"
        )
    shapes, _ = shapes_of(graph)
    dtypes = [value.dtype for value in graph.inputs]
    samples = tuple(
        torch.zeros(traced_batch(batch), *shape, dtype=dtype) for shape, dtype in zip(shapes, dtypes, strict=True)
    )
    module = _QuantizedModule(graph, integer)
    with quiet():
        dynamic = None if batch is not None else any_number(samples, module, samples, {})
        program = torch.export.export(module, samples, dynamic_shapes=dynamic, strict=False)
    return write_onnx(program, (len(shapes), len(graph.outputs)), opset, metadata)


def shapes_of(graph: Graph) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Shapes of one sample of the inputs and outputs that the file of a graph has."""
    moved = zip(graph.inputs, graph.input_axes_moved, strict=True)
    return [_as_given(value.shape, axes) for value, axes in moved], [value.shape for value in graph.outputs]


def _as_given(shape: tuple[int, ...], axes_moved: int) -> tuple[int, ...]:
    """The shape of a sample with its channels first, as the float model takes it."""
    return (*shape[: -1 - axes_moved], shape[-1], *shape[-1 - axes_moved : -1]) if axes_moved else shape


class _QuantizedModule(nn.Module):
    """Computes the float graph with what ONNX calls quantised tensors at its values and weights."""

    def __init__(self, graph: Graph, integer: IntegerGraph) -> None:
        super().__init__()
        self.graph = as_kernels_round(graph, integer)
        self.grids = grids_of_values(integer)
        self.codes = codes_of_weights(graph, integer)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        graph = replace(self.graph, nodes=tuple(self.rounded(node) for node in self.graph.nodes))
        outputs: tuple[Tensor, ...] = interpret(graph, *moved_inputs(graph, *inputs), settle=self.settle)
        return outputs

    def settle(self, value: Value, x: Tensor) -> Tensor:
        grid = self.grids.get(value.name)
        return x if grid is None or not x.is_floating_point() else _rounded(x, grid)

    def rounded(self, node: Node) -> Node:
        """The node with its weights read from int8 codes."""
        if node.name not in self.codes:
            return node
        codes, scales, axis = self.codes[node.name]
        op: Any = node.op
        weight = _dequantized(codes, scales, torch.zeros(len(scales), dtype=torch.int8), axis)
        return replace(node, op=replace(op, weight=op.weight.derive(weight)))


def _rounded(x: Tensor, grid: Grid) -> Tensor:
    scale, zero_point = torch.tensor(grid.scale), torch.tensor(grid.zero_point, dtype=torch.int8)
    codes = torch.onnx.ops.symbolic("QuantizeLinear", (x, scale, zero_point), dtype=torch.int8, shape=x.shape)
    return _dequantized(codes, scale, zero_point)


def _dequantized(codes: Tensor, scale: Tensor, zero_point: Tensor, axis: int = 1) -> Tensor:
    found: Tensor = torch.onnx.ops.symbolic(
        "DequantizeLinear", (codes, scale, zero_point), {"axis": axis}, dtype=torch.float32, shape=codes.shape
    )
    return found
