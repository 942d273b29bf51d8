"""Passes: each takes a graph and returns one that computes the same, nearer to what runs on a device."""

from mcubench.graph.ir import Graph
from mcubench.graph.passes.activation import activation_before_pool, fuse_activation
from mcubench.graph.passes.batch_norm import fold_batch_norm
from mcubench.graph.passes.cleanup import drop_identities, merge_moves
from mcubench.graph.passes.functions import join_functions
from mcubench.graph.passes.layout import channels_last
from mcubench.graph.passes.moves import join_moves
from mcubench.graph.passes.padding import fold_padding
from mcubench.graph.passes.parts import join_parts, read_parts
from mcubench.graph.passes.reductions import join_reductions
from mcubench.graph.passes.steps import join_steps

__all__ = [
    "activation_before_pool",
    "channels_last",
    "deploy",
    "drop_identities",
    "fold_batch_norm",
    "fold_padding",
    "fuse_activation",
    "join_functions",
    "join_moves",
    "join_parts",
    "join_reductions",
    "join_steps",
    "merge_moves",
    "read_parts",
]


def deploy(graph: Graph) -> Graph:
    """All passes in order: the graph as a microcontroller would run it."""
    for each in (
        drop_identities,
        read_parts,
        join_steps,
        join_parts,
        fold_padding,
        fold_batch_norm,
        join_moves,
        join_reductions,
        join_functions,
        activation_before_pool,
        fuse_activation,
        channels_last,
        merge_moves,
    ):
        graph = each(graph)
    return graph
