"""Rules that build the Keras counterpart of each operation of a graph."""

from mcubench.parity.building import elementwise, layers, pooling, recurrent, shapes
from mcubench.parity.building.reading import unread, watched
from mcubench.parity.building.site import Adapt, CannotBuildError, Site, build

__all__ = [
    "Adapt",
    "CannotBuildError",
    "Site",
    "build",
    "elementwise",
    "layers",
    "pooling",
    "recurrent",
    "shapes",
    "unread",
    "watched",
]
