"""N modules of one architecture as one: their parameters stacked, their forward vectorised over the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode

__all__ = ["Stack"]


class Stack(nn.Module):
    """The parameters and buffers of N modules, stacked, and their common forward.

    Args:
        modules: Modules of one architecture, at least one; the first lends its forward, and stays what it is.

    Attributes:
        weights: Each parameter of shape (N, *shape), in the order of ``named_parameters``.

    Raises:
        RuntimeError: If the modules are not of one class, mode or shape.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, buffers = stack_module_state(list(modules))
        self._template = (modules[0],)  # in a tuple: its parameters are not those that are trained here
        self._names = tuple(parameters)
        self.weights = nn.ParameterList(
            nn.Parameter(each.detach(), requires_grad=each.requires_grad) for each in parameters.values()
        )
        self._buffer_names = tuple(buffers)
        for index, buffer in enumerate(buffers.values()):
            self.register_buffer(f"buffer_{index}", buffer)

    def forward(self, x: Tensor, shared: bool = False) -> Tensor:
        """The outputs of all modules, shape (N, B, ...).

        Args:
            x: Each module's own batch, shape (N, B, *shape); or one batch for all of them, shape (B, *shape).
            shared: Whether it is one for all.
        """
        state = dict(zip(self._names, self.weights, strict=True))
        state |= {name: self.get_buffer(f"buffer_{index}") for index, name in enumerate(self._buffer_names)}
        with _FeaturesFirst():
            outputs: Tensor = vmap(self._one, in_dims=(0, None if shared else 0))(state, x)
        return outputs

    def _one(self, state: dict[str, Tensor], x: Tensor) -> Any:
        return functional_call(self._template[0], state, (x,))

    @torch.no_grad()
    def copy_to(self, module: nn.Module, index: int) -> None:
        """Gives a module of the same architecture the parameters at `index`."""
        parameters = dict(module.named_parameters())
        for name, weight in zip(self._names, self.weights, strict=True):
            parameters[name].copy_(weight[index])


class _FeaturesFirst(TorchFunctionMode):
    """Computes linear layers as ``(W x^T + b)^T``.

    Under vmap that is a batched product whose gradient by W comes out in W's own layout. As torch has it, ``x W^T``,
    the gradient is transposed and copied once more, which for small networks is a good part of a step.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is nn.functional.linear and not kwargs and len(args) == 3 and args[0].ndim == 2:
            x, weight, bias = args
            product = weight @ x.mT
            return (product if bias is None else product + bias[:, None]).mT
        return func(*args, **(kwargs or {}))
