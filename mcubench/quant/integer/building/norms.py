"""Norms, and the parts that they are composed of (`mcubench.quant.composition`)."""

from __future__ import annotations

import math

from mcubench.graph import ops
from mcubench.quant.grid import ACTIVATION_MAX, ACTIVATION_MIN
from mcubench.quant.integer import kernels
from mcubench.quant.integer.building.site import Builder
from mcubench.quant.integer.building.table import NotInIntegersError, build, builds
from mcubench.quant.integer.ir import IntegerTensor

__all__: list[str] = []

_UNIT = (kernels.L2Normalize, kernels.Pad, kernels.StridedSlice, kernels.DepthwiseConvolve, kernels.Reshape)


@builds(ops.LayerNorm, kernels.Mean, kernels.Subtract, *_UNIT, limits="over the last axis")
@builds(ops.RMSNorm, *_UNIT, limits="over the last axis")
def _(op: ops.LayerNorm | ops.RMSNorm, _at: Builder) -> None:
    """Those that are in parts do not come here."""
    raise NotInIntegersError(f"it is over {op.rank} axes; rows along the last axis are what is brought to a length")


@build.register
def _(_op: ops.RowMean, at: Builder) -> None:
    at.emit(kernels.Mean((len(at.x.shape) - 1,)), [at.x])


@build.register
def _(op: ops.UnitRow, at: Builder) -> None:
    """What is added to sums of squares is an element more, if it is more than rounding adds."""
    x, axis = at.x, len(at.x.shape) - 1
    length = x.shape[axis]
    if op.floor / length < x.grid.scale**2 / 12:  # the variance of what rounding adds
        at.emit(kernels.L2Normalize(), [x])
        return
    name, grid = at.node.output.name, at.grid(at.node.output)
    count, code = _floor(op, x)
    shape = (*x.shape[:-1], length + count)
    row = at.between(kernels.Pad((*((0, 0),) * axis, (0, count)), code), x, shape, "with_floor")
    unit = at.emit(kernels.L2Normalize(), [row], IntegerTensor(f"{name}.whole", shape, grid))
    at.emit(kernels.StridedSlice(axis, 0, length), [unit])


def _floor(op: ops.UnitRow, x: IntegerTensor) -> tuple[int, int]:
    """Elements that are as long as the floor, as few as hold it, on the grid of what they are put behind."""
    low, high = ACTIVATION_MIN - x.grid.zero_point, ACTIVATION_MAX - x.grid.zero_point
    farthest, codes = max(low, high, key=abs), math.sqrt(op.floor) / x.grid.scale
    count = math.ceil((codes / farthest) ** 2)
    if count > x.shape[-1]:
        raise NotInIntegersError("its eps is larger than the square of any value that it normalises")
    return count, x.grid.zero_point + round(math.copysign(codes / math.sqrt(count), farthest))
