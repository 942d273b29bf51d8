"""What stands in an ``.onnx`` file, checked before anything is made of it: a file is data, and may say anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mcubench.errors import CorruptDataError, UserError
from mcubench.export.backend import load
from mcubench.readers.onnx.tensors import TYPES, Tensors
from mcubench.readers.program import FileInput

__all__ = ["NEWEST", "OLDEST", "FileModel", "FileNode", "parsed"]

OLDEST, NEWEST = 6, 28  # operator sets whose operators were compared with those that the rules know

_NODES = 20_000
_SIZE = 1 << 31  # of an axis of an input

_STRUCTURES = {"If", "Loop", "Scan", "SequenceMap"}  # they hold graphs


@dataclass(frozen=True)
class FileNode:
    """One operator of a file.

    Attributes:
        operator: As in ``Conv``.
        name: The node's, or that of its first output if it has none.
        inputs: Names of what it reads; empty where an optional one is left out.
        outputs: Names of what it makes; empty where nobody wants it.
        attributes: By name, defaults filled in; an optional one without a default that is not given is not there.
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.operator} {self.name!r}"


@dataclass(frozen=True)
class FileModel:
    """A file.

    Attributes:
        opset: The operator set.
        inputs: What the application supplies.
        outputs: Names of what it gets.
        tensors: What stands in the file, by name.
        nodes: Operators in an order in which each value is made before it is read.
    """

    opset: int
    inputs: tuple[FileInput, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    nodes: tuple[FileNode, ...]


def parsed(content: bytes, folder: Path | None) -> FileModel:
    """Reads and checks a file.

    Args:
        content: Its bytes.
        folder: Where its external data may lie; ``None`` if it may have none.

    Raises:
        CorruptDataError: If it is not what an ONNX file should be.
        UserError: If it has what is not read: other domains, control flow, sizes that vary, and the like.
    """
    onnx = load("onnx")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's own class depends on how it was built
        raise CorruptDataError(f"this is no ONNX file, or a part of one: {_line(error)}") from error
    if not all(isinstance(each, str) for each in _texts(model)):  # protobuf gives bytes for what is no UTF-8
        raise CorruptDataError("this is no ONNX file, or an altered one: a name in it is no text")
    if not model.graph.node:
        raise CorruptDataError("this is no ONNX file, or a part of one: it has no operators")
    if model.functions:
        name = model.functions[0].name
        raise UserError(f"the file defines functions ({name!r}), which are not read: inline them before")
    if model.training_info or model.graph.sparse_initializer:
        what = "training information" if model.training_info else "sparse tensors"
        raise UserError(f"the file has {what}, which is not read: write it for inference, with dense tensors")
    if len(model.graph.node) > _NODES:
        raise UserError(f"the file has {len(model.graph.node):,} operators; at most {_NODES:,} are read")
    opset = _opset(onnx, model)
    tensors = Tensors(onnx, folder)
    known: dict[str, Tensor] = {}
    for each in model.graph.initializer:
        if not each.name or each.name in known:
            raise CorruptDataError(f"two tensors of the file are called {each.name!r}")
        known[each.name] = tensors.read(each, f"tensor {each.name!r}")
    inputs = tuple(_input(onnx, each) for each in model.graph.input if each.name not in known)
    nodes = tuple(_node(onnx, each, index, opset, tensors) for index, each in enumerate(model.graph.node))
    outputs = tuple(each.name for each in model.graph.output)
    _check_names(inputs, known, nodes, outputs)
    narrow = {each.name for each in model.graph.initializer if tensors.is_narrow(each)}
    for node in nodes:
        if node.operator != "DequantizeLinear" and (found := narrow.intersection(node.inputs)):
            raise UserError(f"{node} reads {found.pop()!r}, which has codes of 4 bits: only DequantizeLinear may")
    return FileModel(opset, inputs, outputs, known, nodes)


def _texts(model: Any) -> Iterator[Any]:
    """All that is read as text, but attributes of that type."""
    graph = model.graph
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name)
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for tensor in (*graph.initializer, *(each.t for node in graph.node for each in node.attribute)):
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    yield from (each.domain for each in model.opset_import)
    yield from (each.name for each in model.functions)


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _opset(onnx: Any, model: Any) -> int:
    """The version of ONNX's own operators that the file is written in."""
    found = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    others = sorted(each.domain for each in model.opset_import if each.domain not in ("", "ai.onnx"))
    if not found and others:
        raise UserError(f"the file uses operators of {', '.join(map(repr, others))} alone; only ONNX's own are read")
    if len(found) != 1:
        raise CorruptDataError("the file does not say which operator set it is written in")
    newest = min(NEWEST, onnx.defs.onnx_opset_version())
    if not OLDEST <= found[0] <= newest:
        raise UserError(
            f"the file is written in operator set {found[0]}; {OLDEST} to {newest} are read: convert it with "
            "onnx.version_converter"
        )
    return int(found[0])


def _input(onnx: Any, value: Any) -> FileInput:
    """An input with the sizes of one sample."""
    what = f"input {value.name!r}"
    if not value.name:
        raise CorruptDataError("an input of the file has no name")
    if value.type.WhichOneof("value") != "tensor_type" or not value.type.tensor_type.HasField("shape"):
        raise UserError(f"{what} is no tensor with a shape (a sequence, a map, or of any shape): it can't be read")
    kind = value.type.tensor_type.elem_type
    name = onnx.TensorProto.DataType.Name(kind) if kind in onnx.TensorProto.DataType.values() else str(kind)
    if name not in TYPES:
        raise UserError(f"{what} is of type {name}; {', '.join(TYPES)} are read")
    shape = []
    for axis, dim in enumerate(value.type.tensor_type.shape.dim):
        given = dim.WhichOneof("value") == "dim_value"
        if not given and axis:
            named = f" ({dim.dim_param!r})" if dim.dim_param else ""
            raise UserError(
                f"{what} has no fixed size along axis {axis}{named}: only the first axis may vary, as the number of "
                "samples. Write the file with the sizes that a device is to have"
            )
        size = int(dim.dim_value) if given else 1
        if not 0 < size < _SIZE:
            raise CorruptDataError(f"{what} has size {size} along axis {axis}")
        shape.append(size)
    return FileInput(value.name, tuple(shape), TYPES[name])


def _node(onnx: Any, node: Any, index: int, opset: int, tensors: Tensors) -> FileNode:
    """An operator, whose attributes and numbers of inputs and outputs are those that ONNX has for it."""
    name = node.name or next(filter(None, node.output), f"operator {index}")
    what = f"{node.op_type} {name!r}"
    if node.domain not in ("", "ai.onnx"):
        raise UserError(f"{what} is of the domain {node.domain!r}; only ONNX's own operators are read")
    if node.op_type in _STRUCTURES:
        raise UserError(f"{what} is control flow, which is not read: what runs must not depend on computed values")
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except Exception as error:  # SchemaError, which is not public in all versions
        raise UserError(f"{what}: ONNX has no such operator in operator set {opset}") from error
    if schema.deprecated:
        raise UserError(f"{what}: the operator is not there any more in operator set {opset}")
    for given, least, most, side in (
        (len(node.input), schema.min_input, schema.max_input, "inputs"),
        (len(node.output), schema.min_output, schema.max_output, "outputs"),
    ):
        if not least <= given <= most:
            raise CorruptDataError(f"{what} has {given} {side}; it takes {least} to {most}")
    attributes: dict[str, Any] = {}
    for each in node.attribute:
        known = schema.attributes.get(each.name)
        if known is None or each.name in attributes:
            raise CorruptDataError(f"{what} has an attribute {each.name!r}, which it does not have, or has twice")
        if int(known.type.value) != each.type:
            raise CorruptDataError(f"{what}: its attribute {each.name!r} is of another type than ONNX has for it")
        attributes[each.name] = _attribute(onnx, each, f"{what}: its attribute {each.name!r}", tensors)
    for key, known in schema.attributes.items():
        if key not in attributes and known.default_value.name:
            attributes[key] = _attribute(onnx, known.default_value, f"{what}: its attribute {key!r}", tensors)
        elif key not in attributes and known.required:
            raise CorruptDataError(f"{what} has no attribute {key!r}")
    return FileNode(node.op_type, name, tuple(node.input), tuple(node.output), attributes)


def _attribute(onnx: Any, attribute: Any, what: str, tensors: Tensors) -> Any:
    kinds = onnx.AttributeProto
    if attribute.ref_attr_name:
        raise CorruptDataError(f"{what} refers to one of a function")
    if attribute.type == kinds.TENSOR:
        if tensors.is_narrow(attribute.t):
            raise UserError(f"{what} has codes of 4 bits, which are read where they stand in the file by a name alone")
        return tensors.read(attribute.t, what)
    if attribute.type in (kinds.STRING, kinds.STRINGS):
        try:
            texts = [each.decode("utf-8") for each in (attribute.strings or [attribute.s])]
        except UnicodeDecodeError:
            raise CorruptDataError(f"{what} is no text") from None
        return texts[0] if attribute.type == kinds.STRING else texts
    if attribute.type in (kinds.FLOAT, kinds.INT):
        return float(attribute.f) if attribute.type == kinds.FLOAT else int(attribute.i)
    if attribute.type in (kinds.FLOATS, kinds.INTS):
        return list(attribute.floats) if attribute.type == kinds.FLOATS else list(attribute.ints)
    raise UserError(f"{what} is a graph, a sparse tensor or a type, which are not read")


def _check_names(
    inputs: Iterable[FileInput], known: Mapping[str, Tensor], nodes: Iterable[FileNode], outputs: tuple[str, ...]
) -> None:
    """Checks that each value has one name, and is made before it is read."""
    seen = set(known)
    for given in inputs:
        if given.name in seen:
            raise CorruptDataError(f"two inputs of the file are called {given.name!r}")
        seen.add(given.name)
    if len(seen) == len(known):
        raise UserError("the file has no inputs: there is nothing to run")
    for node in nodes:
        for name in filter(None, node.inputs):
            if name not in seen:
                raise CorruptDataError(f"{node} reads {name!r}, which nothing before it makes")
        for name in filter(None, node.outputs):
            if name in seen:
                raise CorruptDataError(f"{node} makes {name!r}, which is there already")
            seen.add(name)
    if not outputs:
        raise CorruptDataError("the file has no outputs")
    for name in outputs:
        if name not in seen:
            raise CorruptDataError(f"the file has an output {name!r}, which nothing makes")
