"""From the float graph to kernels; importing the families registers their rules."""

from mcubench.quant.integer.building import elementwise, layers, moves
from mcubench.quant.integer.building.site import Builder, NotInIntegersError

__all__ = ["Builder", "NotInIntegersError", "elementwise", "layers", "moves"]
