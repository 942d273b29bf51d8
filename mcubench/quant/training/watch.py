"""The guard of a training step: what it computes outside of forward would be float arithmetic in silence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.quant.training.derived import Derived
from mcubench.quant.training.mode import whole
from mcubench.quant.training.quantizer import FakeQuantizer
from mcubench.quant.training.sites import uncompiled, weights_of

__all__ = ["StepWatch"]

_GRADIENTS = {"backward", "grad"}  # of tensors, and of torch.autograd
_LAYERS = {
    *("linear", "bilinear", "matmul", "mm", "bmm", "mv", "addmm", "addmv", "baddbmm", "einsum", "tensordot"),
    *(f"conv{transpose}{rank}d" for transpose in ("", "_transpose") for rank in (1, 2, 3)),
    *("batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm", "prelu", "embedding", "embedding_bag"),
    *("multi_head_attention_forward", "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"),
}


class StepWatch:
    """Watches one step after the other."""

    def __init__(self) -> None:
        self._guard: _Guard | None = None
        self._forwards = 0  # when the step began
        self._uncompiled = contextlib.ExitStack()

    def begin(self, module: nn.Module, quantizer: FakeQuantizer) -> None:
        """From now on a layer that is computed outside of forward is an error."""
        self._forwards = quantizer.forwards
        self._uncompiled.enter_context(uncompiled())
        self._guard = _Guard(module, quantizer)
        self._guard.__enter__()  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """Ends the step, if one is watched."""
        if self._guard is not None:
            self._guard.__exit__(None, None, None)  # type: ignore[no-untyped-call]
            self._guard = None
            self._uncompiled.close()

    def check_forward(self, module: nn.Module, quantizer: FakeQuantizer) -> None:
        """Checks that the step has called forward.

        Raises:
            UserError: If it has not.
        """
        if quantizer.forwards == self._forwards:
            raise UserError(
                f"{type(module).__name__}.training_step never called forward, which QuantizationAwareTraining rounds: "
                "let it call self(x)"
            )

    def frozen_in_evaluation(self, module: nn.Module, quantizer: FakeQuantizer) -> str | None:
        """The parameter, none of forward's, that a step of evaluation has computed with; asked before `end`.

        Raises:
            UserError: If the step has not called forward: then it measures other layers than those that are rounded.
        """
        frozen = self._guard.frozen if self._guard is not None else None
        if frozen is not None and quantizer.forwards == self._forwards:
            raise _outside(module, f"with {frozen}")
        return frozen


class _Guard(TorchFunctionMode):
    """While it is on, a layer that is computed outside of forward is an error: it would be computed in float.

    But for layers that are no part of forward and get no gradients here, as those of a teacher: they are noted.

    Args:
        module: Whose parameters make a call a layer.
        quantizer: Knows whether its forward is running.

    Attributes:
        frozen: The first parameter of such a layer that was computed with.
    """

    def __init__(self, module: nn.Module, quantizer: FakeQuantizer) -> None:
        super().__init__()
        self.module = module
        self.quantizer = quantizer
        self.frozen: str | None = None
        self._derived: Derived = weights_of(module)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Makes the call, if it may be made."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _GRADIENTS:
            with _engine_in(self):
                return func(*args, **kwargs)
        if self.quantizer.is_running:
            return func(*args, **kwargs)
        origin = self._derived.of_call(args, kwargs)
        if origin is None and name in _LAYERS:
            self._check(args, kwargs)
        if name in self.quantizer.plan.counts and _is_recomputation():
            raise _outside(self.module, f"{name} again")
        result = func(*args, **kwargs)
        if origin is not None:
            self._derived.note(origin, result)
        return result

    def _check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for tensor in pytree.tree_leaves((args, kwargs)):
            if not isinstance(tensor, Tensor):
                continue
            origin = self._derived.origin(tensor)
            origin = self._derived.origin(whole(tensor)) if origin is None else origin
            if not isinstance(origin, nn.Parameter):
                continue
            name = next((name for name, each in self.module.named_parameters() if each is origin), "a parameter")
            is_trained = origin.requires_grad and torch.is_grad_enabled()
            if is_trained or name in self.quantizer.plan.parameters:
                raise _outside(self.module, f"with {name}")
            self.frozen = self.frozen or name


@contextlib.contextmanager
def _engine_in(mode: TorchFunctionMode) -> Iterator[None]:
    """While it lasts, gradients are computed in a mode: it is off in all that a call makes which it has intercepted."""
    autograd: Any = torch.autograd
    original = autograd._engine_run_backward

    def run(*args: Any, **kwargs: Any) -> Any:
        with mode:
            return original(*args, **kwargs)

    autograd._engine_run_backward = run
    try:
        yield
    finally:
        autograd._engine_run_backward = original


def _is_recomputation() -> bool:
    """Whether gradients are being computed, and what is computed now is to have gradients itself."""
    return torch._C._current_graph_task_id() >= 0 and torch.is_grad_enabled()


def _outside(module: nn.Module, what: str) -> UserError:
    who = type(module).__name__
    if _is_recomputation():
        return UserError(
            f"{who} computes {what} while gradients are computed, where QuantizationAwareTraining does not round: let "
            "forward drop and recompute values with torch.utils.checkpoint, or keep them"
        )
    return UserError(
        f"{who} computes {what} outside of its forward, where QuantizationAwareTraining does not round: let the step "
        "call self(x), and forward the layers"
    )
