"""Which operator sets an ONNX file can be written in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mcubench.errors import UserError
from mcubench.export.backend import load

__all__ = ["LOWEST", "OPSET", "check_opset", "in_opset"]

OPSET = 18  # what the exporter writes by itself
LOWEST = 13  # the first in which quantised weights have a scale for each channel


def check_opset(opset: int) -> None:
    """Sees before the work that an operator set is one that files can be written in.

    Raises:
        UserError: If it is not, or onnx is not installed.
    """
    newest = load("onnx").defs.onnx_opset_version()
    if not LOWEST <= opset <= newest:
        raise UserError(f"--opset must be {LOWEST} to {newest}, which the installed onnx knows; got {opset}")


def in_opset(model: Any, opset: int) -> None:
    """Brings a model that was written in the exporter's operator set to an older one, in place.

    From `LOWEST` on, what an operator computes has not changed while its attributes and inputs stayed the same; so each
    is kept, or brought to the older form, or refused. onnx's checker has the last word.

    Args:
        model: The model.
        opset: The operator set, at most the model's.

    Raises:
        UserError: If an operator is not there, or not in this form.
    """
    onnx = load("onnx")
    (given,) = (each for each in model.opset_import if not each.domain)
    for graph, node in list(_nodes(model.graph)):
        if not node.domain:
            _older(onnx, graph, node, given.version, opset)
    _without_unused(model.graph)
    given.version = opset
    model.ir_version = onnx.helper.find_min_ir_version_for(list(model.opset_import))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"this model can't be written in opset {opset}: {reason}") from error


def _nodes(graph: Any) -> Iterator[tuple[Any, Any]]:
    for node in graph.node:
        yield graph, node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _older(onnx: Any, graph: Any, node: Any, newer: int, opset: int) -> None:
    now = onnx.defs.get_schema(node.op_type, newer)
    try:
        then = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        raise _refused(node, opset, f"is there from opset {_first(onnx, node.op_type)} on") from None
    if then.since_version == now.since_version:
        return
    if "axes" in then.attributes and "axes" not in now.attributes:
        _axes_as_attribute(onnx, graph, node, opset)
    if node.op_type == "Shape":
        _shape_then_slice(onnx, graph, node)
    for attribute in list(node.attribute):
        if attribute.name not in then.attributes:
            if not _says_nothing(onnx, graph, node, attribute, now):
                raise _refused(node, opset, f"has {attribute.name} only from opset {now.since_version} on")
            node.attribute.remove(attribute)
    if len(node.input) > then.max_input:
        raise _refused(node, opset, f"takes {len(node.input)} inputs only from opset {now.since_version} on")


def _first(onnx: Any, name: str) -> int:
    known = onnx.defs.get_all_schemas_with_history()
    return min(int(each.since_version) for each in known if each.name == name and not each.domain)


def _refused(node: Any, opset: int, reason: str) -> UserError:
    return UserError(f"this model can't be written in opset {opset}: its operator {node.op_type} {reason}")


def _says_nothing(onnx: Any, graph: Any, node: Any, attribute: Any, schema: Any) -> bool:
    """Whether an attribute asks for what is done without it."""
    value = onnx.helper.get_attribute_value(attribute)
    default = schema.attributes[attribute.name].default_value
    if default.type != onnx.AttributeProto.UNDEFINED and value == onnx.helper.get_attribute_value(default):
        return True
    if (node.op_type, attribute.name) == ("Reshape", "allowzero"):  # without it, 0 means: as it was
        shape = _constant(onnx, graph, node.input[1])
        return shape is not None and bool(np.all(shape != 0))
    return False


def _axes_as_attribute(onnx: Any, graph: Any, node: Any, opset: int) -> None:
    """Reductions took their axes as an attribute."""
    if len(node.input) < 2:
        return
    axes = _constant(onnx, graph, node.input[1])
    if axes is None:
        raise _refused(node, opset, "computes its axes")
    del node.input[1:]
    node.attribute.append(onnx.helper.make_attribute("axes", axes.tolist()))


def _shape_then_slice(onnx: Any, graph: Any, node: Any) -> None:
    """A part of a shape was cut from the whole."""
    bounds = {each.name: each.i for each in node.attribute}
    if not bounds:
        return
    whole, made = f"{node.output[0]}_whole", node.output[0]
    ends = {"start": bounds.get("start", 0), "end": bounds.get("end", np.iinfo(np.int64).max)}
    for name, bound in ends.items():
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([bound], np.int64), f"{made}_{name}"))
    place = next(index for index, each in enumerate(graph.node) if each.output[:] == node.output[:])
    graph.node.insert(place + 1, onnx.helper.make_node("Slice", [whole, f"{made}_start", f"{made}_end"], [made]))
    node.output[0] = whole
    del node.attribute[:]


def _without_unused(graph: Any) -> None:
    """Takes out constants that nobody reads any more."""
    read = {name for _, node in _nodes(graph) for name in node.input} | {each.name for each in graph.output}
    for each in [each for each in graph.initializer if each.name not in read]:
        graph.initializer.remove(each)


def _constant(onnx: Any, graph: Any, name: str) -> Any:
    """The value of a constant; ``None`` for anything else."""
    for each in graph.initializer:
        if each.name == name:
            return onnx.numpy_helper.to_array(each)
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output and node.attribute[0].name == "value":
            return onnx.numpy_helper.to_array(node.attribute[0].t)
    return None
