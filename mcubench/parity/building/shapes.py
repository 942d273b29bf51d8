"""Counterparts of operations that move elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from mcubench.graph import ops
from mcubench.graph.ir import Input, Weight
from mcubench.parity.building.padding import zero_padding
from mcubench.parity.building.reading import irrelevant
from mcubench.parity.building.site import CannotBuildError, Site, array, build

__all__: list[str] = []


@build.register
def _(op: ops.Concat, at: Site) -> Any:
    parts = [at.operand(each) for each in op.operands if isinstance(each, (Input, Weight))]
    return at.layer("Concatenate", parts, axis=op.axis + 1)


@build.register
def _(op: ops.Reshape, at: Site) -> Any:
    if len(op.shape) == 1 and len(at.value.shape) > 1:
        return at.layer("Flatten", at.x, data_format="channels_last")
    return at.layer("Reshape", at.x, target_shape=op.shape)


@build.register
def _(op: ops.Permute, at: Site) -> Any:
    return at.layer("Permute", at.x, dims=tuple(axis + 1 for axis in op.axes))


@build.register
def _(op: ops.Slice, at: Site) -> Any:
    index = (slice(None),) * (op.axis + 1) + (slice(op.start, op.stop, op.step),)
    return at.op("get_item", at.x, index)


@build.register
def _(op: ops.Select, at: Site) -> Any:
    return at.op("take", at.x, op.index, axis=op.axis + 1)


@build.register
def _(op: ops.Take, at: Site) -> Any:
    return at.op("take", at.x, array(op.indices), axis=op.axis + 1)


@build.register
def _(op: ops.Pad, at: Site) -> Any:
    if op.mode not in ("constant", "reflect", "replicate", "circular"):
        raise CannotBuildError(f"padding of mode {op.mode!r} is not known")
    x = at.x
    *spatial, channels = op.padding
    if any(min(pair) < 0 for pair in op.padding):  # negative: cut off
        cut = tuple(slice(max(-before, 0), -max(-after, 0) or None) for before, after in op.padding)
        x = at.op("get_item", x, (slice(None), *cut))
    padding = tuple((max(before, 0), max(after, 0)) for before, after in op.padding)
    if op.mode != "constant" or not any(map(any, padding)):
        irrelevant(op, "value")  # nothing is filled with it
    if not any(map(any, padding)):
        return x
    if op.mode == "constant":
        if x is at.x and op.value == 0 and not any(channels) and 1 <= len(spatial) <= 3:
            return zero_padding(at, x, padding[:-1])
        return at.op("pad", x, ((0, 0), *padding), constant_values=op.value)
    for axis, (before, after) in enumerate(padding, 1):
        if before or after:
            x = at.op("take", x, _sources(op.mode, x.shape[axis], before, after), axis=axis)
    return x


def _sources(mode: str, size: int, before: int, after: int) -> Any:
    """Where the elements of a padded axis come from."""
    places = np.arange(-before, size + after)
    if mode == "circular":
        return places % size
    if mode == "reflect" and size > 1:  # there and back, without the edges twice
        return np.abs((places + size - 1) % (2 * size - 2) - (size - 1))
    return np.clip(places, 0, size - 1)


@build.register
def _(op: ops.Expand, at: Site) -> Any:
    shape = (*(1,) * (len(op.shape) - len(at.value.shape)), *at.value.shape)
    x = at.reshape(at.x, shape)
    repeats = [wanted // size for wanted, size in zip(op.shape, shape, strict=True)]
    return at.op("tile", x, [1, *repeats])


@build.register
def _(op: ops.Repeat, at: Site) -> Any:
    return at.op("tile", at.x, [1, *op.repeats])
