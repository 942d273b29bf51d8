"""From traced operator calls to the graph; importing the families registers their rules."""

from mcubench.graph.capture import Captured
from mcubench.graph.ir import Graph
from mcubench.graph.lowering import attention, elementwise, layers, recurrent, shapes
from mcubench.graph.lowering.lowerer import Lowerer

__all__ = ["attention", "elementwise", "layers", "lower", "recurrent", "shapes"]


def lower(captured: Captured) -> Graph:
    """Builds the graph of a captured module; calls without a rule become `Unknown` nodes."""
    return Lowerer(captured).run()
