"""From the float graph to kernels; importing the families registers their rules."""

from mcubench.quant.integer.building import elementwise, layers, moves, norms, products, recurrent
from mcubench.quant.integer.building.site import Builder
from mcubench.quant.integer.building.table import TABLE, NotInIntegersError, Row

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
