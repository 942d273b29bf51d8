"""A copy of a module to trace or to run, so that the module itself is not touched."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mcubench.errors import TraceError
from mcubench.graph.copier import Copier, copies
from mcubench.graph.strangers import Strangers, identity
from mcubench.graph.surroundings import in_single_precision

__all__ = ["Copy", "copy_of", "in_float"]

# Lightning's links to what runs the module: copying them would copy the data, and a copy must not log. A compiled call
# would run the original.
_NOT_COPIED = ("_trainer", "_fabric", "_compiled_call_impl")

# What torch.compile puts beside the module that it wraps.
_OF_COMPILING = {
    "_orig_mod", "_forward", "_super_module_initialized", "_torchdynamo_orig_callable", "_torchdynamo_wrapper_id",
    "dynamo_ctx", "forward", "get_compiler_config",
}  # fmt: skip


@dataclass(frozen=True)
class Copy:
    """A copy of a module.

    Attributes:
        module: On the CPU, in evaluation mode and single precision.
        original: What it is a copy of.
    """

    module: nn.Module
    original: nn.Module
    _copier: _ModuleCopier

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """For running the copy: without autocast, and without the original.

        Modules that it finds elsewhere, as global variables, are afterwards what they were.

        Raises:
            TraceError: If the copy runs the original or a part of it, which might change it, as something that can't be
                copied refers to it.
        """
        originals = set(map(identity, self._copier.originals))
        own = [each for each in self._copier.memo.values() if issubclass(type(each), nn.Module)]
        strangers = Strangers({identity(each) for each in (*own, *self.module.modules())})

        def check(each: nn.Module, _args: Any) -> None:
            if identity(each) in originals:
                raise TraceError(_refers(self.original, each))
            strangers.meet(each)

        try:
            with in_single_precision(), torch.nn.modules.module.register_module_forward_pre_hook(check):
                yield
        finally:
            strangers.put_back()


def _refers(module: nn.Module, part: nn.Module) -> str:
    path = next((name for name, each in module.named_modules() if identity(each) == identity(part)), "")
    return (
        f"{type(module).__name__} refers to its own {path or type(part).__name__} by something that can't be copied (a "
        "generator, a lock's owner, an extension's object), so that running a copy would run, and perhaps change, the "
        "module itself: hold the layer as an attribute, or in a list, a dict or a function"
    )


class _ModuleCopier(Copier):
    """A `Copier` that knows which modules it has copied."""

    def __init__(self) -> None:
        super().__init__()
        self.originals: list[nn.Module] = []


class Uncompiled(nn.Module):
    """Stands where a compiled module stood, and calls what was compiled; paths stay as they were."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the module."""
        return self._orig_mod(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """What is asked of a compiled module is asked of the module."""
        modules = self.__dict__["_modules"]
        return modules[name] if name in modules else getattr(modules["_orig_mod"], name)

    def __len__(self) -> int:
        """The module's length."""
        return len(self._orig_mod)


@torch.inference_mode(False)  # its tensors could not be traced
def copy_of(module: nn.Module) -> Copy:
    """Copies a module so that nothing is shared which a forward could change; compiled parts become what they were.

    Raises:
        TraceError: If the module has lazy layers, or can't be copied.
    """
    module = module._orig_mod if _is_compiled(module) else module  # type: ignore[assignment]
    copier = _ModuleCopier()
    try:
        parts = list(_parts(module, set()))
        for each in parts:  # all at first: what is nested deeply is then not copied by a deep recursion
            _begin(each, copier)
        for each in parts:
            _fill(each, copier)
        made = copier(module)
    except TraceError as error:
        raise TraceError(f"{type(module).__name__} {error}") from error
    except Exception as error:
        raise TraceError(f"{type(module).__name__} can't be copied, so it can't be traced: {error}") from error
    return Copy(made, module, copier)


def _is_compiled(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" and type(module).__module__.startswith("torch._dynamo")


def _parts(module: nn.Module, seen: set[int]) -> Iterator[nn.Module]:
    """A module and all in it, but for what is scripted, which copies itself."""
    if id(module) not in seen and not isinstance(module, torch.jit.ScriptModule):
        seen.add(id(module))
        yield module
        for child in module.children():
            yield from _parts(child, seen)


def _begin(module: nn.Module, copier: _ModuleCopier) -> None:
    copier.originals.append(module)
    made = Uncompiled() if _is_compiled(module) else object.__new__(type(module))
    made.__dict__.clear()
    copier.begin(module, made)


def _fill(module: nn.Module, copier: _ModuleCopier) -> None:
    """Gives a copy its attributes."""
    made = copier.memo[id(module)]
    left_out = _OF_COMPILING if _is_compiled(module) else ()
    for name, value in list(vars(module).items()):
        if name not in left_out:
            made.__dict__[name] = None if name in _NOT_COPIED else copier(value)
    made.__dict__["training"] = False  # not .eval(), which may be overridden
    _freeze_switches(made)


@copies.register(nn.Module)
def _module(value: nn.Module, copier: _ModuleCopier) -> Any:
    """One that is no registered part, but hangs on some attribute."""
    _begin(value, copier)
    _fill(value, copier)
    return copier.memo[id(value)]


@copies.register(torch.jit.ScriptModule)
def _scripted(value: torch.jit.ScriptModule, copier: _ModuleCopier) -> Any:
    copier.originals.extend(value.modules())
    made = copy.deepcopy(value).eval()
    for part in made.modules():
        scripted: Any = part._c
        for name, each in (*part._parameters.items(), *part._buffers.items()):
            if each is not None:
                tensor = in_float(each.detach().cpu())
                is_parameter = name in part._parameters  # of which torch makes tensors when it copies a scripted module
                scripted.setattr(name, nn.Parameter(tensor, requires_grad=False) if is_parameter else tensor)
    return made


@copies.register(Tensor)
def _tensor(value: Tensor, _copier: Copier) -> Tensor:
    if nn.parameter.is_lazy(value):
        raise TraceError("has lazy layers: run it once before it is traced")
    if value.is_meta:
        raise TraceError("has tensors without values (on the meta device): give them values before it is traced")
    made = in_float(value.detach().to("cpu", copy=True))
    return nn.Parameter(made, requires_grad=False) if isinstance(value, nn.Parameter) else made


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
