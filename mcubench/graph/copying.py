"""A copy of a module to trace, so that the module itself is not touched."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from mcubench.errors import TraceError

__all__ = ["in_float", "traceable_copy"]

# Lightning's links to what runs the module: copying them would copy the data, and a copy must not log. A compiled call
# would run the original.
_NOT_COPIED = ("_trainer", "_fabric", "_compiled_call_impl")


def traceable_copy(module: nn.Module) -> nn.Module:
    """A copy on the CPU, in evaluation mode and single precision, that shares nothing which a forward could change.

    Raises:
        TraceError: If the module has lazy layers.
    """
    memo: dict[int, Any] = {}
    for each in module.modules():
        for tensor in (*each._parameters.values(), *each._buffers.values()):
            if tensor is None or id(tensor) in memo:
                continue
            if nn.parameter.is_lazy(tensor):
                raise TraceError(f"{type(module).__name__} has lazy layers: run it once before it is traced")
            value = in_float(tensor.detach().to("cpu", copy=True))
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(value, requires_grad=False) if is_parameter else value
    modules = list(module.modules())
    for each in modules:
        memo[id(each)] = each.__class__.__new__(each.__class__)
        memo[id(each)].__dict__ = {}
    for each in modules:
        _fill(memo[id(each)], each, memo)
    clone: nn.Module = memo[id(module)]
    for each in clone.modules():
        each.training = False  # not .eval(), which may be overridden
        _freeze_switches(each)
    return clone


def _fill(clone: nn.Module, module: nn.Module, memo: dict[int, Any]) -> None:
    """Gives a copy its attributes."""
    for key, value in vars(module).items():
        if "_compiler_ctx" in vars(module) and hasattr(type(module), key):
            continue  # a method that Lightning has replaced by its compiled form
        if key in _NOT_COPIED:
            clone.__dict__[key] = None
        elif isinstance(value, dict) and (key.endswith("_hooks") or "_hooks_" in key):
            # Hooks belong to the function that is traced; those that are methods of a module become its copy's.
            clone.__dict__[key] = type(value)((each, _copy_value(hook, memo)) for each, hook in value.items())
        else:
            clone.__dict__[key] = _copy_value(value, memo)


def _copy_value(value: Any, memo: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # locks, open files, tensors with a history: shared, as they can't be copied
        return value


def _freeze_switches(module: nn.Module) -> None:
    """torch.ao's FakeQuantize branches on tensors, which has no fixed graph; as numbers they decide the branch."""
    if isinstance(module, torch.ao.quantization.FakeQuantize) and type(module).__name__ == "FakeQuantize":
        enabled = int(module.fake_quant_enabled[0])
        for name, value in (("observer_enabled", 0), ("fake_quant_enabled", enabled)):
            del module._buffers[name]
            setattr(module, name, [value])


def in_float(tensor: Tensor) -> Tensor:
    """Half and double precision are a matter of training, and would have to match between input and module."""
    return tensor.float() if tensor.is_floating_point() else tensor
