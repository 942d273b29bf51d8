"""The layers of a model in the order in which they are computed, models within it among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx

from mcubench.errors import UserError
from mcubench.readers.keras.configuration import MODELS, own_name
from mcubench.readers.keras.site import RULES, Site, Writing
from mcubench.readers.program import FileInput

__all__ = ["inputs_of", "written"]

_DTYPES = {
    "float32": torch.float32,
    **{f"int{bits}": getattr(torch, f"int{bits}") for bits in (8, 16, 32, 64)},
    "uint8": torch.uint8,
    "bool": torch.bool,
}


def inputs_of(model: Any) -> list[FileInput]:
    """What a model is called with.

    Raises:
        UserError: If a size is not known, or it is not said what a model is called with at all.
    """
    try:
        tensors = list(model.inputs)
    except (AttributeError, TypeError, ValueError):
        raise UserError(f"{own_name(model.name)} can't be read: it does not say what shape its input has") from None
    found = []
    for tensor in tensors:
        shape, name = tuple(tensor.shape), own_name(tensor.name)
        for axis, size in enumerate(shape[1:], 1):
            if size is None:
                raise UserError(f"input {name} has no size along axis {axis}: only the batch may be left open")
        if tensor.dtype not in _DTYPES:
            raise UserError(f"input {name} is of {tensor.dtype}")
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise UserError(f"input {name} is sparse or ragged")
        found.append(FileInput(name, (1, *shape[1:]), _DTYPES[tensor.dtype]))
    return found


def written(writing: Writing, model: Any, given: Sequence[fx.Node], prefix: str = "") -> list[fx.Node]:
    """Writes a model down.

    Args:
        writing: Where to.
        model: A Functional or Sequential model.
        given: Its inputs.
        prefix: What stands before the names of its layers.

    Returns:
        Its outputs.

    Raises:
        UserError: If a layer can't be read; the text names it.
    """
    made: dict[tuple[int, int, int], fx.Node] = {}
    for tensor, node in zip(model.inputs, given, strict=True):
        made[_key(tensor)] = node
    waiting = list(reversed(model.outputs))
    while waiting:
        tensor = waiting[-1]
        if _key(tensor) in made:
            waiting.pop()
            continue
        layer, call = _call_of(tensor)
        missing = [each for each in call.input_tensors if _key(each) not in made]
        if missing:
            waiting.extend(missing)
            continue
        read = [made[_key(each)] for each in call.input_tensors]
        for output, node in zip(call.outputs, _applied(writing, layer, call, read, prefix), strict=True):
            made[_key(output)] = node
    return [made[_key(tensor)] for tensor in model.outputs]


def _key(tensor: Any) -> tuple[int, int, int]:
    # Keras tells nowhere else which call of which layer made a tensor; configurations number calls in two ways.
    layer, call, place = tensor._keras_history
    return id(layer), int(call), int(place)


def _call_of(tensor: Any) -> tuple[Any, Any]:
    layer, call, _ = tensor._keras_history
    return layer, layer._inbound_nodes[call]


def _applied(writing: Writing, layer: Any, call: Any, read: list[fx.Node], prefix: str) -> list[fx.Node]:
    path, kind = f"{prefix}{own_name(layer.name)}", type(layer).__name__

    def refuse(reason: str) -> UserError:
        return UserError(f"{kind} at {path} can't be read: {reason}")

    if writing.owners.setdefault(path, layer) is not layer:
        raise refuse("another layer has its name")
    plain = len(call.arguments.args) == 1 or all(each is None for each in call.arguments.args[1:])
    extra = [
        name
        for name, value in call.arguments.kwargs.items()
        # What alters images in training has this by default, and does nothing when a model is used.
        if value is not None and value is not False and not (name == "training" and kind.startswith("Random"))
    ]
    if not plain or extra:
        raise refuse(f"it is called with more than its input: {', '.join(extra) or 'a state or a mask'}")
    if kind in MODELS:
        if len(read) != len(layer.inputs) or isinstance(call.arguments.args[0], dict):
            raise refuse("it is called by names of its inputs")
        made = written(writing, layer, read, f"{path}.")
    else:
        policy = layer.dtype_policy
        if kind not in RULES or not type(layer).__module__.startswith("keras."):
            raise refuse("there is no rule for it")
        if policy.compute_dtype != "float32" or getattr(policy, "quantization_mode", None) is not None:
            raise refuse(f"it computes with {policy.name}")
        try:
            with writing.program.at(path):
                made = [RULES[kind](Site(writing, layer, path, read))]
        except UserError:
            raise
        except Exception as error:  # whatever torch says of arguments that do not fit
            raise refuse(str(error).partition("\n")[0] or type(error).__name__) from error
    for node, output in zip(made, call.outputs, strict=True):
        shape, wanted = writing.program.shape(node)[1:], tuple(output.shape)[1:]
        if shape != wanted:
            raise refuse(f"it makes {list(shape)}, and Keras says {list(wanted)}")
    return made
