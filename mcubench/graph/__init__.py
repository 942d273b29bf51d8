"""From a module to a graph of microcontroller-level operations, which everything behind training reads."""

from mcubench.errors import TraceError
from mcubench.graph import ops
from mcubench.graph.example import declared_shape, one_sample
from mcubench.graph.interpret import interpret
from mcubench.graph.ir import Graph, Node, Op, Unknown, Value, Weight
from mcubench.graph.passes import deploy
from mcubench.graph.trace import trace

__all__ = [
    "Graph",
    "Node",
    "Op",
    "TraceError",
    "Unknown",
    "Value",
    "Weight",
    "declared_shape",
    "deploy",
    "interpret",
    "one_sample",
    "ops",
    "trace",
]
