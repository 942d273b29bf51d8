"""The order in which the weights of convolutions lie in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["channels_last", "set_memory_format"]


def set_memory_format(
    module: nn.Module, memory_format: torch.memory_format, optimizers: Iterable[torch.optim.Optimizer] = ()
) -> None:
    """Lays out all four-dimensional weights anew, with the state that optimisers keep of them.

    On a CPU, convolutions are about twice as fast between tensors whose channels lie side by side, and the strides of
    their weights decide which kind they are computed with. Values stay the same.

    Args:
        module: The module, whose parameters stay the same objects.
        memory_format: ``torch.channels_last`` or ``torch.contiguous_format``.
        optimizers: Optimisers of its parameters.
    """
    module.to(memory_format=memory_format)  # type: ignore[call-overload]
    for optimizer in optimizers:
        for parameter, state in optimizer.state.items():
            for name, value in state.items():
                # A fused optimiser walks through memory, and would pair elements that do not belong together.
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value).detach()


@contextmanager
def channels_last(module: nn.Module) -> Iterator[None]:
    """While it lasts, a module's weights have their channels last."""
    set_memory_format(module, torch.channels_last)
    try:
        yield
    finally:
        set_memory_format(module, torch.contiguous_format)
