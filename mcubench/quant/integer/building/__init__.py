"""From the float graph to kernels; importing the families registers their rules."""

from mcubench.quant.integer.building import elementwise, layers, moves, norms, products, recurrent
from mcubench.quant.integer.building.site import TABLE, Builder, NotInIntegersError, Row

__all__ = [
    "TABLE",
    "Builder",
    "NotInIntegersError",
    "Row",
    "elementwise",
    "layers",
    "moves",
    "norms",
    "products",
    "recurrent",
]
