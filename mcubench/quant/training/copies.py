"""Copies of a module that is rounded: an average of its weights, say, that is evaluated beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from mcubench.quant.training.quantizer import FakeQuantizer
from mcubench.quant.training.schedule import Phase

__all__ = ["Copies"]


class Copies:
    """Rounds every forward of a module's copies, in the ranges of the module, from which it learns nothing.

    A copy that is made while this lasts has its hooks; those of a trace are left alone. Copies of a child can't be
    rounded, as the plan is one of a whole forward.

    Args:
        module: The module itself, whose forwards are somebody else's business.
        quantizer: What rounds the module at the moment, if something does.
        say: Told once what is done with a copy that computes.
    """

    def __init__(
        self, module: nn.Module, quantizer: Callable[[], FakeQuantizer | None], say: Callable[[str], None]
    ) -> None:
        name, said = type(module).__name__, set[str]()
        children = [child for child in module.children() if _can_be_hooked(child)]
        begun: list[FakeQuantizer | None] = []  # what rounds it, for each call of a copy that has not ended

        def rounding() -> FakeQuantizer | None:
            found = quantizer()
            if found is None or found.module is not module or not found.ranges or found.is_running:
                return None
            return None if torch.compiler.is_exporting() else found

        def once(text: str) -> None:
            if text not in said:
                said.add(text)
                say(text)

        # Closures, as copies have the same hooks: they would copy what a method belongs to.
        def enter(each: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
            if each is module:
                return None
            begun.append(None)
            found = rounding()
            if found is None:
                return None
            once(f"a copy of {name} is rounded as {name} is, in its ranges; one made before the fit stays float")
            changed = found.begin(each, Phase.ROUND, args, kwargs)
            begun[-1] = found
            return changed

        def leave(each: nn.Module, _args: Any, output: Any) -> None:
            if each is not module and begun and (found := begun.pop()) is not None and found.is_running:
                found.end(failed=output is None)

        def enter_child(each: nn.Module, _args: Any) -> None:
            if not any(each is child for child in children) and rounding() is not None:
                once(f"a copy of a part of {name} computes in float: only copies of all of {name} are rounded")

        self._hooks: list[RemovableHandle] = [
            module.register_forward_pre_hook(enter, with_kwargs=True),
            module.register_forward_hook(leave, always_call=True),
            *(child.register_forward_pre_hook(enter_child) for child in children),
        ]

    def end(self) -> None:
        """Leaves the module as it was; copies that were made go on in float."""
        while self._hooks:
            self._hooks.pop().remove()


def _can_be_hooked(child: nn.Module) -> bool:
    """Whether a child has weights, and is called as it is: a hook would stop a compiled one from being whole."""
    compiled = hasattr(child, "_orig_mod") or getattr(child, "_compiled_call_impl", None) is not None
    return not compiled and next(child.parameters(), None) is not None
