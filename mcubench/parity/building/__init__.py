"""Rules that build the Keras counterpart of each operation of a graph."""

from mcubench.parity.building import elementwise, layers, pooling, recurrent, shapes
from mcubench.parity.building.site import CannotBuildError, Site, build

__all__ = ["CannotBuildError", "Site", "build", "elementwise", "layers", "pooling", "recurrent", "shapes"]
