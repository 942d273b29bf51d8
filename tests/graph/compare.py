"""A graph against the module that it was traced from: torch is the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from mcubench.graph import Graph, deploy, interpret, trace


class Forward(nn.Module):
    """A function as a module: ``forward(x) = function(*layers, x)``."""

    def __init__(self, function: Callable[..., Any], *layers: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.layers = nn.ModuleList(layers)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*self.layers, *args, **kwargs)


def randomised(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, with batch norm (and all else with running statistics) as after some training."""
    for each in module.modules():
        if isinstance(getattr(each, "running_var", None), Tensor):
            nn.init.normal_(each.running_mean)
            nn.init.uniform_(each.running_var, 0.3, 3.0)
            if each.weight is not None:
                nn.init.uniform_(each.weight, -1.5, 1.5)
                nn.init.normal_(each.bias)
    return module.eval()


def leaves(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def batch_like(example: Any, batch_dim: int = 0, samples: int = 3) -> Any:
    """Random samples, shaped like the one in the example."""

    def draw(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or leaf.ndim <= batch_dim:
            return leaf
        shape = (*leaf.shape[:batch_dim], samples, *leaf.shape[batch_dim + 1 :])
        return torch.randn(shape) if leaf.is_floating_point() else torch.randint(0, 5, shape)

    return pytree.tree_map(draw, example)


def call(module: nn.Module, batch: Any) -> list[Tensor]:
    """What the module returns for a batch, given as `trace` takes its example."""
    with torch.no_grad():
        if isinstance(batch, dict):
            return leaves(module(**batch))
        return leaves(module(*batch) if isinstance(batch, (tuple, list)) else module(batch))


def run(graph: Graph, batch: Any, batch_dim: int = 0, out_dim: int | None = None) -> list[Tensor]:
    """What the graph computes from the same batch, channels and batch put back to where the module has them."""
    ready = []
    for given, moved in zip(leaves(batch), graph.input_axes_moved or [0] * len(graph.inputs), strict=True):
        x = given.movedim(batch_dim, 0)
        ready.append(x.movedim(-1 - moved, -1) if moved else x)
    outputs = []
    moves = graph.output_axes_moved or [0] * len(graph.outputs)
    for value, y, moved in zip(graph.outputs, interpret(graph, *ready), moves, strict=True):
        assert tuple(y.shape[1:]) == value.shape, f"{value.name} was announced with another shape"
        back = y.movedim(-1, -1 - moved) if moved else y
        outputs.append(back.movedim(0, batch_dim if out_dim is None else out_dim))
    return outputs


def distance(found: list[Tensor], wanted: list[Tensor]) -> float:
    """Largest difference of any output, relative to the largest element of that output."""
    worst = 0.0
    for one, other in zip(found, wanted, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        scale = max(float(other.double().abs().max()), 1e-30)
        worst = max(worst, float((one.double() - other.double()).abs().max()) / scale)
    return worst


def same_as_module(
    module: nn.Module, example: Any, batch_dim: int = 0, out_dim: int | None = None, bound: float = 1e-5
) -> Graph:
    """Traces a module, compares it with torch on three random samples, as traced and as deployed; returns the trace."""
    module = randomised(module)
    graph = trace(module, example, batch_dim)
    assert not graph.unknown(), [(node.op.target, node.op.reason) for node in graph.unknown()]
    batch = batch_like(example, batch_dim)
    wanted = call(module, batch)
    assert distance(run(graph, batch, batch_dim, out_dim), wanted) <= bound, "traced"
    assert distance(run(deploy(graph), batch, batch_dim, out_dim), wanted) <= 10 * bound, "deployed"
    return graph


def kinds(graph: Graph) -> list[str]:
    """The operations of a graph in order, by the names of their classes."""
    return [type(node.op).__name__ for node in graph.nodes]


def cases(table: dict[str, Any]) -> list[Any]:
    """Parameters of a test, named by the keys of a table."""
    return [pytest.param(*(value if isinstance(value, tuple) else (value,)), id=name) for name, value in table.items()]
