"""N modules of one architecture as one: their parameters stacked, their forward vectorised over the models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from mcubench.models import MLP

__all__ = ["Stack"]

_LAYERS = (nn.Flatten, nn.Linear, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardswish, nn.GELU, nn.Sigmoid, nn.Tanh)


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
        # In tuples: their parameters are not those that are trained here.
        self._template = (modules[0],)
        self._layers = _plain_layers(modules[0])
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
        return self._vectorised(x, shared) if self._layers is None else self._through(self._layers, x, shared)

    def _through(self, layers: tuple[nn.Module, ...], x: Tensor, shared: bool) -> Tensor:
        """Computes linear layers as ``W x + b`` with features first, where gradients of W come out in W's layout."""
        weights = iter(self.weights)
        values = x.flatten(1 if shared else 2).mT
        for layer in layers:
            if isinstance(layer, nn.Linear):
                weight, bias = next(weights), next(weights)
                values = weight @ values + bias[:, :, None]
            elif not isinstance(layer, nn.Flatten):
                values = layer(values)
        return values.mT

    def _vectorised(self, x: Tensor, shared: bool) -> Tensor:
        state = dict(zip(self._names, self.weights, strict=True))
        state |= {name: self.get_buffer(f"buffer_{index}") for index, name in enumerate(self._buffer_names)}
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


def _plain_layers(module: nn.Module) -> tuple[nn.Module, ...] | None:
    """The layers of a plain `MLP`, which need no vmap: for small networks that takes longer than their arithmetic."""
    if type(module) is not MLP or any(type(layer) not in _LAYERS for layer in module.layers):
        return None
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())
    return None if hooked else tuple(module.layers)
