"""The integer graph as ONNX: float operators between QuantizeLinear and DequantizeLinear, with its scales."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from mcubench.export.backend import load
from mcubench.export.rounding import as_kernels_round
from mcubench.graph import Graph, Node, Value, interpret
from mcubench.quant.fake import codes_of_weights, grids_of_values, moved_inputs
from mcubench.quant.grid import Grid
from mcubench.quant.integer.ir import IntegerGraph

__all__ = ["METADATA", "OPSET", "to_onnx"]

METADATA = "mcubench"  # key of the model's property, a JSON text

OPSET = 18


def to_onnx(graph: Graph, integer: IntegerGraph, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Writes a graph as ONNX through torch.onnx.

    Every value of the integer graph passes QuantizeLinear and DequantizeLinear with its scale and zero point; weights
    are stored as int8 codes with a scale for each channel (those of 4 and 2 bits too). Biases are float.

    Args:
        graph: The deployed float graph.
        integer: What was made of it.
        metadata: What is to be stored as JSON in the model's properties, under `METADATA`.

    Returns:
        The file: it takes float32, (N, *shape), channels first, and gives float32.

    Raises:
        UserError: If onnx or onnxscript is not installed.
    """
    onnx = load("onnx")
    load("onnxscript")
    shapes = [_as_given(value.shape, axes) for value, axes in zip(graph.inputs, graph.input_axes_moved, strict=True)]
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), _Quiet("torch.onnx", "onnxscript", "onnx_ir"):
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            _QuantizedModule(graph, integer),
            tuple(torch.zeros(2, *shape) for shape in shapes),
            input_names=[f"input_{index}" for index in range(len(shapes))] if len(shapes) > 1 else ["input"],
            output_names=[f"output_{index}" for index in range(len(graph.outputs))]
            if len(graph.outputs) > 1
            else ["output"],
            dynamic_shapes=(tuple({0: batch} for _ in shapes),),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    model = program.model_proto
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata or {})})
    model.producer_name = METADATA
    written = io.BytesIO()
    onnx.save(model, written)
    return written.getvalue()


class _Quiet:
    """Keeps loggers from telling people what the exporter does step by step."""

    def __init__(self, *names: str) -> None:
        self.loggers = [logging.getLogger(name) for name in names]
        self.levels = [logger.level for logger in self.loggers]

    def __enter__(self) -> None:
        for logger in self.loggers:
            logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        for logger, level in zip(self.loggers, self.levels, strict=True):
            logger.setLevel(level)


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
        return x if grid is None else _rounded(x, grid)

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
