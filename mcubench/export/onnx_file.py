"""From what torch.export found to an ONNX file: names, operator set, batch."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from mcubench.errors import UserError
from mcubench.export.backend import load
from mcubench.export.opsets import OPSET, in_opset

__all__ = ["METADATA", "any_number", "names_of", "quiet", "traced_batch", "write_onnx"]

METADATA = "mcubench"  # key of the model's property, a JSON text

_ANY = (
    2  # samples in the trace of a file that takes any number: of one, torch.export would take it that it is always one
)


def names_of(what: str, count: int) -> list[str]:
    """What a file calls its inputs or outputs: ``input``, or ``input_0`` and so on."""
    return [what] if count == 1 else [f"{what}_{index}" for index in range(count)]


def traced_batch(batch: int | None) -> int:
    """How many samples to trace with for a file that takes so many; ``None``: any number."""
    return _ANY if batch is None else batch


def any_number(tensors: Sequence[Tensor], module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
    """What torch.export has to know so that the first axis of these inputs is any number."""
    shapes = torch.export.ShapesCollection()
    samples = torch.export.Dim("batch")
    for tensor in tensors:
        if tensor.ndim:
            shapes[tensor] = {0: samples}
    return shapes.dynamic_shapes(module, args, kwargs)


def write_onnx(
    program: torch.export.ExportedProgram,
    counts: tuple[int, int],
    opset: int = OPSET,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """Writes a program as ONNX.

    Args:
        program: What torch.export found.
        counts: Of its inputs and outputs.
        opset: The operator set.
        metadata: What is to be stored as JSON in the model's properties, under `METADATA`.

    Raises:
        UserError: If onnx or onnxscript is not installed, or an operator is not there in ONNX or in this set.
    """
    onnx = load("onnx")
    load("onnxscript")
    try:
        with quiet():
            written: Any = torch.onnx.export(
                program,
                input_names=names_of("input", counts[0]),
                output_names=names_of("output", counts[1]),
                opset_version=max(opset, OPSET),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise UserError(f"this model can't be written as ONNX: {_cause(error)}") from error
    model = written.model_proto
    _without_traces(model)
    _name_batch(model.graph)
    found = next(each.version for each in model.opset_import if not each.domain)
    if found < opset:  # the exporter leaves it there, if it does not know how to go on
        raise UserError(f"this model can't be written in opset {opset}: torch.onnx stops at {found}; leave out --opset")
    if found > opset:
        in_opset(model, opset)
    onnx.helper.set_model_props(model, {METADATA: json.dumps(metadata or {})})
    model.producer_name = METADATA
    content = io.BytesIO()
    onnx.save(model, content)
    return content.getvalue()


def _cause(error: BaseException) -> str:
    """The first line of what went wrong at the bottom."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _without_traces(model: Any) -> None:
    """Takes out which lines of which files on this machine an operator comes from."""
    graph = model.graph
    for each in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        each.ClearField("metadata_props")


def _name_batch(graph: Any) -> None:
    """Has the number of samples be called so; torch.export numbers what varies."""
    dims = [dim for value in graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param]
    if len(numbered := {dim.dim_param for dim in dims}) != 1:
        return
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in numbered:
                dim.dim_param = "batch"


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the exporter from telling people what it does step by step."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        for name in ("torch.onnx", "onnxscript", "onnx_ir"):
            logger = logging.getLogger(name)
            stack.callback(logger.setLevel, logger.level)
            logger.setLevel(logging.CRITICAL)
        yield
