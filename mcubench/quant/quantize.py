"""`quantize`: from the float graph to the integer graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from mcubench.cost.size import BitWidths
from mcubench.errors import UserError
from mcubench.graph import Graph, Value, deploy
from mcubench.quant.calibration import Observer, Range, calibrate
from mcubench.quant.composition import composed
from mcubench.quant.grid import Grid
from mcubench.quant.integer.building import Builder
from mcubench.quant.integer.ir import IntegerGraph
from mcubench.quant.sharing import GridGroups, group_values

__all__ = ["check_kernels", "quantize"]


def quantize(
    graph: Graph,
    ranges: Mapping[Value, Range] | None = None,
    *,
    calibration: Tensor | Sequence[Tensor] | None = None,
    observer: Observer = "minmax",
    widths: BitWidths | None = None,
) -> IntegerGraph:
    """Quantises a graph to int8 activations and weights of 8, 4 or 2 bits.

    Args:
        graph: A traced or deployed graph.
        ranges: For the values of the *deployed* graph, and what its norms are composed of, the smallest and largest
            number that each is to hold, as training or `calibrate` found them; values that share a grid get one for all
            their ranges.
        calibration: Instead of ranges, samples (N, *shape) of the training data, one tensor for each input.
        observer: How ranges are taken from `calibration`.
        widths: Bits of weights; 8 by default.

    Raises:
        UserError: If neither or both of ranges and calibration are given, a range is missing, a width is not one of
            those allowed, or an operation can't be computed in int8: the text names it and its path.
    """
    widths = widths or BitWidths()
    if widths.activation != 8:
        raise UserError(f"TFLite Micro computes with activations of 8 bits; got {widths.activation}")
    graph = graph if graph.layout == "channels_last" else deploy(graph)
    widths.check(graph)
    if (ranges is None) == (calibration is None):
        raise UserError("quantize needs either ranges or calibration samples")
    parts = composed(graph)
    groups = group_values(parts)
    if ranges is None:
        samples = [calibration] if isinstance(calibration, Tensor) else list(calibration or ())
        check_kernels(graph, widths)  # before the work
        ranges = calibrate(graph, *samples, observer=observer)
    return Builder(parts, groups, _grids(groups, ranges), widths).run()


def check_kernels(graph: Graph, widths: BitWidths | None = None) -> None:
    """Sees whether a deployed graph has a kernel for everything, whatever the ranges of its values are.

    Raises:
        NotInIntegersError: If there is none for an operation.
    """
    parts = composed(graph)
    groups = group_values(parts)
    Builder(parts, groups, dict.fromkeys(range(groups.count), Grid(1.0, 0)), widths or BitWidths()).run()


def _grids(groups: GridGroups, ranges: Mapping[Value, Range]) -> dict[int, Grid]:
    """The grid of each group: fixed, or that of all ranges of its values together."""
    bounds: dict[int, Range] = {}
    for value, (low, high) in ranges.items():
        if (group := groups.of.get(value)) is not None and value not in groups.clipped:
            before = bounds.get(group, (low, high))
            bounds[group] = min(before[0], low), max(before[1], high)
    grids = dict(groups.fixed)
    for value, group in groups.of.items():
        if group not in grids:
            if group not in bounds:
                raise UserError(f"no range is known for {value.name} {list(value.shape)}")
            grids[group] = groups.grid(group, *bounds[group])
    return grids
