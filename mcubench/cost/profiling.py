"""From a module, a graph or an estimator to the report of what it costs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import nn

from mcubench.cost.counts import check_tools, count_like
from mcubench.cost.macs import count_macs
from mcubench.cost.memory import plan_memory
from mcubench.cost.report import CostReport, LayerCost
from mcubench.cost.size import BitWidths, flash_size
from mcubench.errors import UserError
from mcubench.graph import Graph, Unknown, deploy, ops, trace

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["is_unfitted", "profile", "profile_graph"]


def profile(
    module: nn.Module | BaseEstimator,
    example_input: Any,
    widths: BitWidths | None = None,
    count_bias: bool = False,
    batch_dim: int | None = 0,
    counts: Sequence[str] = (),
) -> CostReport:
    """Prices a module or an estimator.

    Args:
        module: Any module; a fitted scikit-learn estimator; or a module without parameters that has one as its
            ``estimator``.
        example_input: One sample, as `mcubench.graph.trace` takes it; for an estimator, any number of samples.
        widths: The bit widths to price it at; by default those that it says it computes at (``widths``, as a classical
            model of `mcubench.baselines` does), else 8 and 8.
        count_bias: Count the addition of a bias as one MAC.
        batch_dim: Where the batch stands in the example.
        counts: Other tools, of `mcubench.cost.TOOLS`: what would they count for it?

    Raises:
        UserError: If the module can't be traced or its estimator is not fitted, `widths` name a layer that is not
            there, there are no rules of how a tool of `counts` counts, or it is an estimator, which these do not know.
    """
    check_tools(counts)
    name = type(module).__name__
    if is_unfitted(module):
        raise UserError(f"{name} is not fitted yet: its cost is known after fit")
    if isinstance(module, nn.Module):
        estimator = None if _is_network(module) else getattr(module, "estimator", None)
    else:
        estimator = module
    if _is_estimator(estimator):
        if counts:
            raise UserError(f"{' and '.join(counts)} count networks; {name} is a classical model")
        from mcubench.cost.estimators import profile_estimator  # scikit-learn is there already

        own = getattr(module, "widths", None)
        widths = widths or (own if isinstance(own, BitWidths) else None)
        return profile_estimator(estimator, example_input, name, widths, count_bias, batch_dim)
    return profile_graph(trace(module, example_input, batch_dim), name, widths, count_bias, counts)


def is_unfitted(module: object) -> bool:
    """Whether a module says that it is a classical model still to be fitted (``is_fitted``); a network is none."""
    return not _is_network(module) and not getattr(module, "is_fitted", True)


def _is_network(module: object) -> bool:
    """Whether a module has parameters of its own; what attributes like ``estimator`` are is then its own affair."""
    return isinstance(module, nn.Module) and next(module.parameters(), None) is not None


def _is_estimator(found: object) -> bool:
    """Whether it is one of scikit-learn's; where nobody has imported scikit-learn, nothing is."""
    sklearn = sys.modules.get("sklearn.base")
    return sklearn is not None and isinstance(found, sklearn.BaseEstimator)


def profile_graph(
    graph: Graph, model: str, widths: BitWidths | None = None, count_bias: bool = False, counts: Sequence[str] = ()
) -> CostReport:
    """Prices a graph that was traced; `model` is what it is called, the rest as for `profile`."""
    widths = widths or BitWidths()
    graph = deploy(graph)
    flash, memory = flash_size(graph, widths), plan_memory(graph, widths)
    stored: dict[str, int] = {}
    for line in flash.lines:
        stored[line.node] = stored.get(line.node, 0) + line.bytes
    seen: set[str] = set()
    layers = []
    steps = [node for node in graph.nodes if not isinstance(node.op, ops.Reshape)]
    for node, ram in zip(steps, memory.live[1:], strict=True):
        count = count_macs(Graph((node,), (), ()), count_bias)
        sources = {source for _, weight in node.op.weights() for source in weight.sources} - seen
        seen |= sources
        layers.append(
            LayerCost(
                path=node.path,
                op=node.op.label,
                output_shape=node.output.shape,
                params=sum(graph.parameters.get(source, 0) for source in sources),
                macs=None if count.unsupported else count.counted,
                flash_bytes=None if isinstance(node.op, Unknown) else stored.get(node.name, 0),
                ram_bytes=ram,
            )
        )
    return CostReport(
        model=model,
        inputs=tuple(value.shape for value in graph.inputs),
        widths=widths,
        layers=tuple(layers),
        params=sum(graph.parameters.values()),
        mac_count=count_macs(graph, count_bias),
        flash=flash,
        memory=memory,
        notes=graph.notes,
        counts=tuple(count_like(replace(graph, nodes=tuple(steps)), tool) for tool in dict.fromkeys(counts)),
    )
