"""``.pt2`` files, which ``torch.export.save`` writes: ATen calls already, so they are written down as they are."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx

from mcubench.errors import CorruptDataError, UserError
from mcubench.graph.ir import Graph
from mcubench.readers.exported.archive import DTYPES, Archive, open_archive
from mcubench.readers.program import FileInput, Program, graph_of

__all__ = ["read_exported"]

# What sizes are computed with.
_OF_SIZES: dict[str, Callable[..., Any]] = {
    f"_operator.{name}": getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "mod", "neg")
}
# Where and how a tensor lies, which a graph does not know.
_NOWHERE = ("as_none", "as_memory_format", "as_layout", "as_device")
_PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_bool", "as_bools", "as_string")


def read_exported(content: bytes) -> Graph:
    """Reads a file.

    Raises:
        CorruptDataError: If it is truncated or altered.
        UserError: If something in it can't be read, which is named.
    """
    archive = open_archive(content)
    try:
        return _graph(archive)
    except UserError:
        raise
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise CorruptDataError(f"the .pt2 file is altered: {type(error).__name__}: {error}") from error


def _graph(archive: Archive) -> Graph:
    module = archive.program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    stored: dict[str, tuple[str, bool]] = {}
    names: list[str] = []
    for spec in signature["input_specs"]:
        ((kind, found),) = spec.items()
        if kind == "user_input":
            if "as_tensor" in found["arg"]:
                names.append(found["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            path = found[f"{kind}_name"]
            if path not in archive.tensors:
                raise CorruptDataError(f"the .pt2 file is altered: {path} is missing")
            stored[found["arg"]["name"]] = path, kind == "parameter"
        else:
            raise UserError(f"its inputs have a {kind.replace('_', ' ')}, which is not read")
    inputs = [_input(name, graph["tensor_values"][name]) for name in names]

    def write(program: Program, given: Sequence[fx.Node]) -> Sequence[fx.Node]:
        made: dict[str, Any] = dict(zip(names, given, strict=True))
        for name, (path, is_parameter) in stored.items():
            made[name] = program.weight(path, archive.tensors[path], is_parameter)
        for node in graph["nodes"]:
            _write(program, node, made)
        outputs = [spec["user_output"]["arg"] for spec in signature["output_specs"] if "user_output" in spec]
        return [made[each["as_tensor"]["name"]] for each in outputs if "as_tensor" in each]

    return graph_of(inputs, write)


def _input(name: str, meta: Mapping[str, Any]) -> FileInput:
    shape = []
    for axis, size in enumerate(meta["sizes"]):
        if "as_int" not in size and axis:
            raise UserError(f"its input {name} has no fixed size along axis {axis}: only the batch may be open")
        shape.append(size.get("as_int", 1))
    if meta["dtype"] not in DTYPES:
        raise UserError(f"its input {name} is of a type that is not read (number {meta['dtype']} of torch's)")
    return FileInput(name, tuple(shape), DTYPES[meta["dtype"]])


def _write(program: Program, node: Mapping[str, Any], made: dict[str, Any]) -> None:
    """Writes one call, and keeps what it makes."""
    target, where = node["target"], node.get("name") or node["target"]
    given = {each["name"]: _argument(each["arg"], made, where) for each in node["inputs"]}
    if target in _OF_SIZES:
        made[node["outputs"][0]["as_sym_int"]["as_name"]] = _OF_SIZES[target](*given.values())
        return
    called = _operator(target, where)
    if target == "torch.ops.aten.sym_size.int":
        size = given["self"].meta["val"].shape[given["dim"]]
        made[node["outputs"][0]["as_sym_int"]["as_name"]] = int(size)
        return
    in_order = _in_order(called, given)
    changed = None
    if called._schema.is_mutable:
        called, changed = _out_of_place(called, given, where)
    try:
        with program.at(_path(node)):
            result = program.call(called, *given.values()) if in_order else program.call(called, **given)
    except Exception as error:  # whatever torch says of arguments that do not fit
        reason = str(error).partition("\n")[0]
        raise UserError(f"{target} at {where} can't be read: {reason}") from error
    for name in [name for name, value in made.items() if changed is not None and value is changed]:
        made[name] = result
    _keep(program, node["outputs"], result, made)


def _in_order(called: Any, given: Mapping[str, Any]) -> bool:
    """Whether all arguments are given in the order of the schema, none of them by name only."""
    wanted = [each for each in called._schema.arguments if not each.kwarg_only]
    return [each.name for each in wanted[: len(given)]] == list(given)


def _keep(program: Program, outputs: Sequence[Mapping[str, Any]], result: fx.Node, made: dict[str, Any]) -> None:
    if len(outputs) == 1 and "as_tensor" in outputs[0]:
        made[outputs[0]["as_tensor"]["name"]] = result
        return
    parts = outputs[0]["as_tensors"] if len(outputs) == 1 else [each.get("as_tensor") for each in outputs]
    for place, each in enumerate(parts):
        if each is not None:
            made[each["name"]] = program.item(result, place)


def _operator(target: str, where: str) -> Any:
    """The operator of a name such as ``torch.ops.aten.conv2d.default``."""
    words = target.split(".")
    if words[:3] != ["torch", "ops", "aten"] or len(words) != 5:
        raise UserError(f"{target} at {where} can't be read: only operators of torch's own (aten) are")
    packet = getattr(torch.ops.aten, words[3], None)
    if packet is None or words[4] not in packet.overloads():
        raise UserError(f"{target} at {where} can't be read: this version of torch does not have it")
    return getattr(packet, words[4])


def _out_of_place(called: Any, given: Mapping[str, Any], where: str) -> tuple[Any, fx.Node]:
    """The operator that makes a new tensor instead of changing its first argument, and what that is.

    Raises:
        UserError: If there is none, or others see the change.
    """
    changed = next(iter(given.values()))
    name = called._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name.removesuffix("_"), None)
    made_by = getattr(changed.target, "_schema", None)
    is_view = made_by is not None and any(each.alias_info for each in made_by.returns)
    if name == "dropout_" and not given.get("train"):  # which changes nothing
        is_view = False
    if not name.endswith("_") or packet is None or called._overloadname not in packet.overloads() or is_view:
        raise UserError(f"{name} at {where} can't be read: it changes a tensor that others may see")
    return getattr(packet, called._overloadname), changed


def _argument(found: Mapping[str, Any], made: Mapping[str, Any], where: str) -> Any:
    """What an argument is: a node for a tensor, a number, a list."""
    ((kind, value),) = found.items()
    if kind in _PLAIN:
        return value
    if kind == "as_scalar_type" and value in DTYPES:
        return DTYPES[value]
    if kind in _NOWHERE:
        return None
    if kind not in _COMPUTED:
        raise UserError(f"an argument of {where} can't be read: it is {kind.removeprefix('as_').replace('_', ' ')}")
    return _COMPUTED[kind](value, made)


def _size(value: Mapping[str, Any], made: Mapping[str, Any]) -> int:
    return int(value["as_int"] if "as_int" in value else made[value["as_name"]])


_COMPUTED: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "as_tensor": lambda value, made: made[value["name"]],
    "as_tensors": lambda value, made: [made[each["name"]] for each in value],
    "as_optional_tensors": lambda value, made: [
        made[each["as_tensor"]["name"]] if "as_tensor" in each else None for each in value
    ],
    "as_sym_int": _size,
    "as_sym_ints": lambda value, made: [_size(each, made) for each in value],
}


def _path(node: Mapping[str, Any]) -> str:
    """Path of the innermost module that made the call: the last of ``key,path,class;...``."""
    stack = node.get("metadata", {}).get("nn_module_stack", "")
    words = stack.rpartition(";")[2].split(",")
    return words[1].partition("@")[0] if len(words) > 1 else ""
