"""`trace`: from any module to the graph."""

from __future__ import annotations

from typing import Any

from torch import nn

from mcubench.graph.capture import capture
from mcubench.graph.ir import Graph
from mcubench.graph.lowering import lower

__all__ = ["trace"]


def trace(module: nn.Module, example_input: Any, batch_dim: int | None = 0) -> Graph:
    """Traces what a module does with one sample at inference.

    A copy of it is traced with torch.export, on the CPU; the module, its hooks, its mode, its device and the random
    state stay as they are. Its forward hooks run as in any forward.

    Args:
        module: Any module; it need not know anything of mcubench.
        example_input: One sample: a tensor, or a tuple of positional or a dict of keyword arguments. Only shapes and
            types of its tensors matter.
        batch_dim: Where the batch stands in every tensor of the example, with size 1 there; ``None`` if it has none.

    Returns:
        The graph; operations that can't be lowered are `Unknown` nodes in it.

    Raises:
        TraceError: If the module can't be traced with this input.
        UserError: If the example is more than one sample.
    """
    return lower(capture(module, example_input, batch_dim))
