"""A module as it is, in float, as ONNX: whatever torch.onnx knows, whether or not there is an int8 kernel for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.errors import TraceError, UserError
from mcubench.export.manifest import float_tensors
from mcubench.export.onnx_file import any_number, quiet, traced_batch, write_onnx
from mcubench.export.opsets import OPSET
from mcubench.graph.capture import exported
from mcubench.graph.copying import copy_of
from mcubench.graph.example import Example
from mcubench.graph.surroundings import for_tracing

__all__ = ["FloatOnnx", "to_float_onnx"]

Described = tuple[tuple[int | None, ...], torch.dtype]


@dataclass(frozen=True)
class FloatOnnx:
    """A file, and shape and type of each of its inputs and outputs; ``None`` stands for any number of samples."""

    content: bytes
    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]

    def described(self) -> dict[str, Any]:
        """Inputs and outputs for ``model.json``."""
        names = [[str(dtype).removeprefix("torch.") for _, dtype in side] for side in (self.inputs, self.outputs)]
        shapes = [[shape for shape, _ in side] for side in (self.inputs, self.outputs)]
        return float_tensors(shapes[0], shapes[1], dtypes=(names[0], names[1]))


def to_float_onnx(
    module: nn.Module,
    example: Any,
    metadata: Mapping[str, Any] | None = None,
    *,
    opset: int = OPSET,
    batch: int | None = None,
) -> FloatOnnx:
    """Writes a module as ONNX, nothing quantised.

    Args:
        module: The module; a copy of it is traced in evaluation mode.
        example: One sample: a tensor, a tuple of positional or a dict of keyword arguments.
        metadata: What is to be stored as JSON in the model's properties.
        opset: The operator set.
        batch: How many samples the file takes at a time; any number by default.

    Raises:
        UserError: If a package is not installed, the module can't be traced so, or ONNX does not have what it does.
    """
    copied = copy_of(module)
    with for_tracing(copied.module), copied.running(), quiet():
        given = Example.of_one(example, 0).repeated(traced_batch(batch))
        try:
            program = exported(copied.module, given, any_number if batch is None else None)
        except UserError as error:
            raise TraceError(f"{type(module).__name__} can't be traced: {error}") from error
        except Exception as error:  # somebody's forward may raise anything
            raise UserError(_failure(module, given, batch, error)) from error
    inputs = tuple(_described(leaf) for leaf in _placeholders(program))
    outputs = tuple(_described(leaf) for leaf in _returned(program))
    content = write_onnx(program, (len(inputs), len(outputs)), opset, metadata)
    return FloatOnnx(content, inputs, outputs)


def _failure(module: nn.Module, given: Example, batch: int | None, error: Exception) -> str:
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    text = f"{type(module).__name__} can't be traced with input {given.shapes()}: {type(error).__name__}: {reason}"
    return text if batch is not None else f"{text}. It may be one for a fixed number of samples: try --batch 1"


def _placeholders(program: torch.export.ExportedProgram) -> list[Any]:
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    found = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    return [found[name] for name in names]


def _returned(program: torch.export.ExportedProgram) -> list[Any]:
    (output,) = (node for node in program.graph.nodes if node.op == "output")
    specs = program.graph_signature.output_specs
    leaves = pytree.tree_leaves(output.args[0])
    return [leaf.meta["val"] for spec, leaf in zip(specs, leaves, strict=True) if spec.kind.name == "USER_OUTPUT"]


def _described(tensor: Tensor) -> Described:
    """Sizes that follow the number of samples are ``None``."""
    sizes = tuple(int(size) if isinstance(size, int) else None for size in tensor.shape)
    return sizes, tensor.dtype
