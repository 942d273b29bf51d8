"""The guard of a training step: what it computes outside of forward would be float arithmetic in silence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from mcubench.errors import UserError
from mcubench.quant.training.mode import whole
from mcubench.quant.training.quantizer import FakeQuantizer
from mcubench.quant.training.sites import uncompiled

__all__ = ["StepWatch"]

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
        self._guard = _Guard(module, lambda: quantizer.is_running)
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


class _Guard(TorchFunctionMode):
    """While it is on, a layer that is computed outside of forward is an error: it would be computed in float.

    Args:
        module: Whose parameters make a call a layer.
        is_inside: Whether its forward is running.
    """

    def __init__(self, module: nn.Module, is_inside: Callable[[], bool]) -> None:
        super().__init__()
        self.module = module
        self.is_inside = is_inside

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Makes the call, if it may be made."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", None) in _LAYERS and not self.is_inside():
            tensors = [each for each in pytree.tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
            given = [each for each in map(whole, tensors) if isinstance(each, nn.Parameter)]
            for name, parameter in self.module.named_parameters() if given else ():
                if any(each is parameter for each in given):
                    raise UserError(
                        f"{type(self.module).__name__} computes with {name} outside of its forward, where "
                        "QuantizationAwareTraining does not round: let the step call self(x), and forward the layers"
                    )
        return func(*args, **kwargs)
